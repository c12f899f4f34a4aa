# SPDX-License-Identifier: BSD-3-Clause
"""Environment files: read at each start, with errors that name file and line."""
import os


def write(path, text):
    with open(path, 'w') as f:
        f.write(text)


def test_files_are_read_at_each_start(up):
    """They go before env, later ones before earlier ones; one with a "-" may be missing; programs beside see them."""
    first, second = os.path.join(up.dir, 'web.env'), os.path.join(up.dir, 'b.env')
    write(first, '# comment\nA=1\nB="two words"\nC=first\n')
    write(second, "C='second'\nPATH=/nowhere:/usr/bin:/bin\n")
    up.apply({'web': {'command': ['sh', '-c', 'echo "$A,$B,$C,$D,$PATH,$REEVE_TASK"; exec sleep 100000'],
                      'env': {'A': 'spec', 'D': 'spec'},
                      'env_files': [f'{up.dir}/${{job.name}}.env', second, f'-{up.dir}/missing']}})
    line = '1,two words,second,spec,/nowhere:/usr/bin:/bin,web.0\n'
    up.wait_for(lambda: up.log_text('web.0') == line, 'it has what the files say')
    assert up.cli('exec', 'web.0', '--', 'sh', '-c', 'echo $B $C').stdout == 'two words second\n'
    write(second, 'C=third\n')
    up.cli('restart', 'web.0')
    up.wait_for(lambda: ',two words,third,' in up.log_text('web.0'), 'the file is read again')


def test_mistakes_are_named(up):
    wrong = os.path.join(up.dir, 'wrong.env')
    write(wrong, 'A=1\nexport B=2\n')
    more = {'command': ['sleep', '100000'], 'restart': {'policy': 'never'}}
    up.apply({'wrong': {**more, 'env_files': [wrong]}, 'missing': {**more, 'env_files': [f'{up.dir}/none.env']},
              'folder': {**more, 'env_files': [f'-{up.dir}']}})
    for job, text in [('wrong', f'env_files: {wrong}:2: "export B" is no name of a variable'),
                      ('missing', 'none.env: No such file or directory'), ('folder', 'env_files: ')]:
        task = up.wait_tasks(job, state='ended')[0]
        assert task['result'] == 'failed' and text in task['reason'], task['reason']
    write(wrong, 'A=1\n')
    up.cli('restart', 'wrong.0')
    up.wait_running('wrong', 1)


def test_the_example(up):
    """examples/env-files.yaml is taken as it is, and does what its comments say."""
    up.cli('apply', os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../examples/env-files.yaml'))
    up.wait_running('web', 1)
    up.wait_for(lambda: up.log_text('web.0') == 'level info\n', 'it has the variables')
