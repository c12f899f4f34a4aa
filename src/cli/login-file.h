/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/error.h"

/* What `reeve login` keeps: one server, and what lets us in there. Heap strings. */
struct login_file {
        char *address; /* "https://host:7433" */
        char *token;
        char *fingerprint; /* of the server's CA; NULL: the system's roots vouch for it */
};

void login_file_done(struct login_file *f);

/* $XDG_CONFIG_HOME/reeve/login, or in ~/.config. Heap string. */
char *login_file_path(void);

/* ERR_NOT_FOUND if there is none. */
int login_file_read(struct login_file *ret, struct error *err);
int login_file_write(const struct login_file *f, struct error *err);
