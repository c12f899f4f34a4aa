/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/time.h"
#include "net/address.h"

/* Asking the server, for commands. */

#define CLIENT_WAIT (40 * USEC_SEC) /* how long an ordinary answer may take */

/* Where Reeve keeps its state and its socket unless told otherwise: /var/lib/reeve and
 * /run/reeve/reeve.sock for root, else $XDG_STATE_HOME/reeve (~/.local/state/reeve) and
 * $XDG_RUNTIME_DIR/reeve/reeve.sock (else in the state directory). Heap strings. */
char *client_default_data(void);
char *client_default_socket(void);

/* The server's address: REEVE_ADDR, else that of `reeve login`, else the default socket. With TLS
 * it says whom to believe: REEVE_CA, what `reeve login` kept for it, or the system's roots. */
int client_address(struct address *ret, struct error *err);

/* The header lines of every request to client_address(), which is called first: "Authorization" if
 * REEVE_TOKEN is set or `reeve login` has kept a token for it. Ends with NULL; static. */
const char *const *client_headers(void);

/* One request. @body: JSON text or NULL; @type: its content type, NULL for application/json. A
 * problem document becomes @err with its code; a server that does not answer becomes a sentence
 * that says what to do. @ret may be NULL; else a new reference to the answer, or NULL if that is
 * not JSON. */
int client_request(const char *method, const char *path, const char *type, const char *body,
        size_t len, json_t **ret, struct error *err);
int client_get(const char *path, json_t **ret, struct error *err);

/* The code and sentence of an answer that is not a success: of its problem document, else of its
 * status. Returns -1. */
int client_problem(int status, const char *body, size_t len, struct error *err);

/* Makes of @err, the failure of a connection, a sentence that says what to do, where one is known.
 * Returns -1. */
int client_unreachable(const struct address *address, struct error *err);

/* True for the id of a task ("web.0"); all else that can be a name is a job's. */
bool client_is_task(const char *name);

/* The path of a job or task: "/v1/tasks/web.0" and @rest ("/stop", "?wait=1s" or ""), with the name
 * percent-encoded. Heap string. */
char *client_subject_path(const char *name, const char *rest);

/* The same for what can only be a job, and for a node. */
char *client_job_path(const char *name, const char *rest);
char *client_node_path(const char *name, const char *rest);

/* Appends @text percent-encoded, as a segment of a path or a value in a query. */
void client_put_encoded(struct buffer *out, const char *text);

/* For AUTO(). */
void client_json_decref(json_t **json);
