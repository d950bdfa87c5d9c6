/* C version of roost.gateway.websocket.handshake.read_head_in_python. Both behave alike; a property test compares
   them. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

#define MAX_HOST_BYTES 63

/* A part of the request; it points into the request's bytes. */
typedef struct {
    const char *at;
    Py_ssize_t size;
} Piece;

typedef struct {
    Piece host, key, connection, upgrade, version;
    int has_body;
} Known;

static char lower(char byte)
{
    return byte >= 'A' && byte <= 'Z' ? (char)(byte + ('a' - 'A')) : byte;
}

static int is_visible(char byte)
{
    return byte >= '!' && byte <= '~';
}

static int is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static int is_alnum(char byte)
{
    return is_digit(byte) || (lower(byte) >= 'a' && lower(byte) <= 'z');
}

static int is_name(char byte)
{
    return is_alnum(byte) || byte == '-';
}

/* Whether `piece` equals `word`, ignoring case; `word` must be in lower case. */
static int is_word(Piece piece, const char *word)
{
    if (piece.size != (Py_ssize_t)strlen(word))
        return 0;
    for (Py_ssize_t at = 0; at < piece.size; at++)
        if (lower(piece.at[at]) != word[at])
            return 0;
    return 1;
}

/* Whether `piece` begins with these bytes; if so, they are removed from it. */
static int skip(Piece *piece, const char *bytes)
{
    const Py_ssize_t size = (Py_ssize_t)strlen(bytes);
    if (piece->size < size || memcmp(piece->at, bytes, (size_t)size))
        return 0;
    piece->at += size;
    piece->size -= size;
    return 1;
}

/* Remove and return the longest prefix of `piece` whose bytes all satisfy `is_like`. */
static Piece take(Piece *piece, int (*is_like)(char))
{
    Piece taken = {piece->at, 0};
    while (taken.size < piece->size && is_like(taken.at[taken.size]))
        taken.size++;
    piece->at += taken.size;
    piece->size -= taken.size;
    return taken;
}

static int is_visible_or_space(char byte)
{
    return byte == ' ' || is_visible(byte);
}

/* Read one header line, name and value; return 0 when it is not in the ordinary form. */
static int take_line(Piece *rest, Piece *name, Piece *value)
{
    *name = take(rest, is_name);
    if (!name->size || !skip(rest, ": "))
        return 0;
    *value = take(rest, is_visible_or_space);
    return value->size && is_visible(value->at[0]) && is_visible(value->at[value->size - 1]) && skip(rest, "\r\n");
}

static void remember(Known *known, Piece name, Piece value)
{
    const struct {
        const char *name;
        Piece *value;
    } wanted[] = {
        {"host", &known->host},
        {"sec-websocket-key", &known->key},
        {"connection", &known->connection},
        {"upgrade", &known->upgrade},
        {"sec-websocket-version", &known->version},
    };
    for (size_t at = 0; at < sizeof wanted / sizeof *wanted; at++)
        if (is_word(name, wanted[at].name))
            *wanted[at].value = value;
    known->has_body |= is_word(name, "content-length") || is_word(name, "transfer-encoding");
}

/* Return 1: added; 0: a field of this name exists already; -1: an exception is set. */
static int add(PyObject *fields, Piece name, Piece value)
{
    PyObject *key = PyBytes_FromStringAndSize(NULL, name.size), *item = NULL;
    int added = -1;
    if (key) {
        for (Py_ssize_t at = 0; at < name.size; at++)
            PyBytes_AS_STRING(key)[at] = lower(name.at[at]);
        const int is_there = PyDict_Contains(fields, key);
        item = is_there ? NULL : PyBytes_FromStringAndSize(value.at, value.size);
        if (is_there)
            added = is_there < 0 ? -1 : 0;
        else if (item)
            added = PyDict_SetItem(fields, key, item) ? -1 : 1;
    }
    Py_XDECREF(key);
    Py_XDECREF(item);
    return added;
}

/* Labels separated by dots, with an optional port. */
static int is_host(Piece host)
{
    if (!host.size || host.size > MAX_HOST_BYTES)
        return 0;
    for (Py_ssize_t at = 0; at + 4 <= host.size; at++)
        if (is_word((Piece){host.at + at, 4}, "xn--"))
            return 0;
    do
        if (!take(&host, is_name).size)
            return 0;
    while (skip(&host, "."));
    return !host.size || (skip(&host, ":") && take(&host, is_digit).size && !host.size);
}

static int is_base64(char byte)
{
    return is_alnum(byte) || byte == '+' || byte == '/';
}

/* The base64 form of 16 bytes. */
static int is_key(Piece key)
{
    return take(&key, is_base64).size == 22 && key.size == 2 && skip(&key, "==");
}

static int is_listed(Piece list, const char *word)
{
    while (list.size) {
        Piece item = {list.at, 0};
        while (item.size < list.size && list.at[item.size] != ',')
            item.size++;
        const Py_ssize_t step = item.size + (item.size < list.size);
        list.at += step;
        list.size -= step;
        for (; item.size && item.at[0] == ' '; item.size--)
            item.at++;
        for (; item.size && item.at[item.size - 1] == ' '; item.size--)
            ;
        if (is_word(item, word))
            return 1;
    }
    return 0;
}

static int is_upgrade(const Known *known)
{
    return !known->has_body && is_host(known->host) && is_key(known->key) && is_word(known->version, "13")
        && is_word(known->upgrade, "websocket") && is_listed(known->connection, "upgrade");
}

static PyObject *result(Piece target, const Known *known, PyObject *fields)
{
    return Py_BuildValue("(s#y#O)", target.at, target.size, known->key.at, known->key.size, fields);
}

static PyObject *read_head(PyObject *module, PyObject *head)
{
    (void)module;
    if (!PyBytes_Check(head))
        return PyErr_Format(PyExc_TypeError, "bytes are expected");
    Piece rest = {PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head)};
    if (!skip(&rest, "GET ") || !rest.size || rest.at[0] != '/')
        Py_RETURN_NONE;
    const Piece target = take(&rest, is_visible);
    if (!skip(&rest, " HTTP/1.1\r\n"))
        Py_RETURN_NONE;
    PyObject *fields = PyDict_New(), *found = NULL;
    Known known = {0};
    int added = fields ? 1 : -1;
    while (added > 0 && !skip(&rest, "\r\n")) {
        Piece name, value;
        added = take_line(&rest, &name, &value) ? add(fields, name, value) : 0;
        if (added > 0)
            remember(&known, name, value);
    }
    if (added > 0 && !rest.size && is_upgrade(&known))
        found = result(target, &known, fields);
    else if (added >= 0)
        found = Py_NewRef(Py_None);
    Py_XDECREF(fields);
    return found;
}

static PyMethodDef methods[] = {
    {"read_head", read_head, METH_O, "See roost.gateway.websocket.handshake.read_head_in_python."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "roost.gateway.websocket._head",
    .m_doc = "Parses the head of an ordinary upgrade request.",
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__head(void)
{
    return PyModuleDef_Init(&definition);
}
