/* SPDX-License-Identifier: BSD-3-Clause */
/* What a machine says of itself, from a tree of files that looks like one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/macros.h"
#include "base/mem.h"
#include "node/machine.h"

#define GIB (1024ull * 1024 * 1024)

static char root[64];

static int set_up(void **state)
{
        (void) state;
        strcpy(root, "/tmp/reeve-test-machine-XXXXXX"); /* NOLINT: it fits */
        return mkdtemp(root) == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
        (void) state;
        return file_remove_tree(root, NULL);
}

static void put(const char *path, const char *text)
{
        AUTO(mem_freep) char *whole = mem_printf("%s%s", root, path);
        AUTO(mem_freep) char *directory = mem_strdup(whole);
        struct error err = ERROR_INIT;

        *strrchr(directory, '/') = '\0';
        if (file_mkdirs(directory, 0755, &err) < 0 ||
                file_replace(whole, text, strlen(text), 0644, false, &err) < 0)
                fail_msg("%s", err.message);
}

static struct machine find(const struct machine_config *with)
{
        struct machine_config config = *with;
        struct machine m;
        struct error err = ERROR_INIT;

        config.root = root;
        config.data = root;
        config.name = "n1";
        if (machine_find(&config, &m, &err) < 0)
                fail_msg("%s", err.message);
        return m;
}

static void expect_attribute(const struct machine *m, const char *name, const char *want)
{
        const char *got = attributes_get(&m->attributes, name);

        assert_non_null(got);
        assert_string_equal(got, want);
}

static void the_least_limit_of_all_groups_counts_v2(void **state)
{
        struct machine m;

        (void) state;
        put("/proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB\n");
        put("/proc/self/cgroup", "0::/a.slice/b.service\n");
        put("/sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
        put("/sys/fs/cgroup/a.slice/memory.max", "4294967296\n");
        put("/sys/fs/cgroup/a.slice/cpu.max", "50000 100000\n");
        put("/sys/fs/cgroup/a.slice/b.service/memory.max", "max\n");
        put("/sys/fs/cgroup/a.slice/b.service/cpu.max", "max 100000\n");
        m = find(&(struct machine_config){ 0 });
        assert_int_equal(m.memory, 4 * GIB);
        assert_int_equal(m.cpu, 500);
        assert_true(m.cores >= 1);
        assert_true(m.disk > 0);
        expect_attribute(&m, "cgroup", "2");
        expect_attribute(&m, "memory", "4294967296");
        machine_done(&m);
}

static void limits_of_cgroup_v1(void **state)
{
        struct machine m;

        (void) state;
        put("/proc/meminfo", "MemTotal:       16777216 kB\n");
        put("/proc/self/cgroup", "4:cpu,cpuacct:/x\n3:memory:/y/z\n1:name=systemd:/q\n0::/u\n");
        put("/sys/fs/cgroup/unified/cgroup.procs", "");
        put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        put("/sys/fs/cgroup/memory/y/z/memory.limit_in_bytes", "1073741824\n");
        put("/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "-1\n");
        put("/sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n");
        m = find(&(struct machine_config){ 0 });
        assert_int_equal(m.memory, GIB);
        assert_int_equal(m.cpu, 1000 * m.cores);
        expect_attribute(&m, "cgroup", "hybrid");
        machine_done(&m);
        put("/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "25000\n");
        m = find(&(struct machine_config){ 0 });
        assert_int_equal(m.cpu, 250);
        machine_done(&m);
}

static void without_limits_it_is_the_machine(void **state)
{
        struct machine m;

        (void) state;
        put("/proc/meminfo", "MemTotal: 2097152 kB\n");
        m = find(&(struct machine_config){ 0 });
        assert_int_equal(m.memory, 2 * GIB);
        assert_int_equal(m.cpu, 1000 * m.cores);
        assert_null(attributes_get(&m.attributes, "cgroup"));
        expect_attribute(&m, "name", "n1");
        expect_attribute(&m, "reeve", REEVE_VERSION);
        assert_non_null(attributes_get(&m.attributes, "arch"));
        assert_non_null(attributes_get(&m.attributes, "kernel"));
        machine_done(&m);
}

static void the_operator_has_the_last_word(void **state)
{
        static const char *const own[] = { "rack=a7", "gpu=yes" };
        struct machine_config config = { .zone = "west",
                .attributes = own,
                .attributes_len = 2,
                .cpu = 1500,
                .memory = GIB,
                .disk = 5 * GIB };
        struct machine m;

        (void) state;
        put("/etc/os-release", "PRETTY_NAME=\"Debian\"\nVERSION_ID=\"12\"\nID=debian\n");
        m = find(&config);
        assert_int_equal(m.cpu, 1500);
        assert_int_equal(m.memory, GIB);
        assert_int_equal(m.disk, 5 * GIB);
        expect_attribute(&m, "rack", "a7");
        expect_attribute(&m, "gpu", "yes");
        expect_attribute(&m, "zone", "west");
        expect_attribute(&m, "os", "debian 12");
        machine_done(&m);
}

static void a_wrong_attribute_is_refused(void **state)
{
        static const char *const own[] = { "no value" };
        struct machine_config config = {
                .root = root, .data = root, .name = "n1", .attributes = own, .attributes_len = 1
        };
        struct error err = ERROR_INIT;
        struct machine m;

        (void) state;
        assert_int_equal(machine_find(&config, &m, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        assert_non_null(strstr(err.message, "--attr no value"));
}

static void texts_may_contain_anything(void **state)
{
        static const char *const texts[] = { "", "\n", "::", "0::", "0::x", "1:cpu", ":::/a:b",
                "MemTotal:", "MemTotal: 99999999999999999999 kB", "ID=\nID=\"", "ID=\"\"" };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                free(machine_cgroup_path(texts[i], NULL));
                free(machine_cgroup_path(texts[i], "cpu"));
                free(machine_os_release(texts[i], "ID"));
                assert_int_equal(machine_mem_total(texts[i]), MACHINE_UNKNOWN);
        }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(the_least_limit_of_all_groups_counts_v2),
                TEST(limits_of_cgroup_v1),
                TEST(without_limits_it_is_the_machine),
                TEST(the_operator_has_the_last_word),
                TEST(a_wrong_attribute_is_refused),
                TEST(texts_may_contain_anything),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
