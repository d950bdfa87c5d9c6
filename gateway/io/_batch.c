/* C version of gateway/io/batch.py, which documents what both do and why. Both behave alike; a property test compares
   them.

   The interpreter's lock (GIL) is held throughout. No call here blocks (MSG_DONTWAIT), and a whole batch takes a
   fraction of the 5 ms for which any Python code may hold the lock. Releasing it around each call, as os.read and
   os.write do, costs more than it gains: another thread that is computing would hold it for those 5 ms after every
   call. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define MAX_READ_BYTES 4096
#define OPEN 2 /* roost.gateway.connections.slots.OPEN; checked when the module is imported */

/* The first two bytes of a frame (RFC 6455 section 5.2). */
enum { TEXT = 0x81, BINARY = 0x82, PONG = 0x8A };
enum { MASKED = 0x80, MAX_SHORT_BYTES = 125, TWO_BYTES_FOLLOW = 126 };

/* State of one call of read_messages. References are borrowed from its arguments, except `messages` and `others`. */
typedef struct {
    Py_ssize_t size, limit;
    PyObject *state, *last_read, *last_message, *parsers, *now;
    PyObject *messages, *others;
    Py_ssize_t byte_count;
} Batch;

/* Unmask a payload with the masking key that precedes it. */
static void unmask(unsigned char *to, const unsigned char *payload, Py_ssize_t length)
{
    const unsigned char *key = payload - 4;
    uint32_t half;
    memcpy(&half, key, sizeof half);
    const uint64_t mask = (uint64_t)half << 32 | half;
    Py_ssize_t at = 0;
    for (uint64_t word; at + 8 <= length; at += 8) {
        memcpy(&word, payload + at, sizeof word);
        word ^= mask;
        memcpy(to + at, &word, sizeof word);
    }
    for (; at < length; at++)
        to[at] = payload[at] ^ key[at % 4];
}

/* Return the length of the payload if these bytes are exactly one uncompressed data frame; otherwise -1. */
static Py_ssize_t single_bytes(const unsigned char *frame, Py_ssize_t count)
{
    if (count < 6 || (frame[0] != TEXT && frame[0] != BINARY))
        return -1;
    if (count - 6 <= MAX_SHORT_BYTES)
        return frame[1] == (MASKED | (count - 6)) ? count - 6 : -1;
    const Py_ssize_t length = count - 8;
    if (length <= MAX_SHORT_BYTES || frame[1] != (MASKED | TWO_BYTES_FOLLOW))
        return -1;
    return length == (frame[2] << 8 | frame[3]) ? length : -1;
}

/* Return the message of such a frame. NULL without an exception set: the text is not UTF-8. */
static PyObject *message_of(const unsigned char *frame, Py_ssize_t count, Py_ssize_t length)
{
    const unsigned char *payload = frame + count - length;
    if (frame[0] == BINARY) {
        PyObject *message = PyBytes_FromStringAndSize(NULL, length);
        if (message)
            unmask((unsigned char *)PyBytes_AS_STRING(message), payload, length);
        return message;
    }
    unsigned char text[MAX_READ_BYTES];
    unmask(text, payload, length);
    PyObject *message = PyUnicode_DecodeUTF8((const char *)text, length, NULL);
    if (!message && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
        PyErr_Clear();
    return message;
}

/* Append (fd, what); steals the reference to `what`, which may be NULL with an exception set. */
static int append(PyObject *list, PyObject *fd, PyObject *what)
{
    PyObject *pair = what ? PyTuple_Pack(2, fd, what) : NULL;
    const int failed = pair ? PyList_Append(list, pair) : -1;
    Py_XDECREF(pair);
    Py_XDECREF(what);
    return failed;
}

/* Return the cell of a descriptor (borrowed); NULL when it is out of range. */
static PyObject *cell(PyObject *cells, long fd)
{
    return fd >= 0 && fd < PyList_GET_SIZE(cells) ? PyList_GET_ITEM(cells, fd) : NULL;
}

static int set_cell(PyObject *cells, long fd, PyObject *value)
{
    return PyList_SetItem(cells, fd, Py_NewRef(value));
}

/* Return 1 if connection `fd` is open and has no partial message, 0 if not, -1 with an exception set. */
static int is_at_rest(const Batch *batch, long fd, PyObject *number)
{
    PyObject *state = cell(batch->state, fd);
    if (!state || PyLong_AsLong(state) != OPEN)
        return PyErr_Occurred() ? -1 : 0;
    if (!PyDict_GET_SIZE(batch->parsers))
        return 1;
    const int has_parser = PyDict_Contains(batch->parsers, number);
    return has_parser < 0 ? -1 : !has_parser;
}

/* Handle the bytes of one read. */
static int take(Batch *batch, long fd, PyObject *number, const unsigned char *data, Py_ssize_t count)
{
    if (count == 6 && data[0] == PONG && data[1] == MASKED) {
        batch->byte_count += count;
        return set_cell(batch->last_read, fd, batch->now);
    }
    const Py_ssize_t length = single_bytes(data, count);
    if (length >= 0 && length <= batch->limit) {
        PyObject *message = message_of(data, count, length);
        if (message) {
            batch->byte_count += count;
            const int failed = append(batch->messages, number, message);
            if (failed || set_cell(batch->last_read, fd, batch->now))
                return -1;
            return set_cell(batch->last_message, fd, batch->now);
        }
        if (PyErr_Occurred())
            return -1;
    }
    return append(batch->others, number, PyBytes_FromStringAndSize((const char *)data, count));
}

static int read_one(Batch *batch, PyObject *entry)
{
    if (!PyTuple_Check(entry) || PyTuple_GET_SIZE(entry) != 2) {
        PyErr_SetString(PyExc_TypeError, "ready: pairs of descriptor and events are expected");
        return -1;
    }
    PyObject *number = PyTuple_GET_ITEM(entry, 0), *events = PyTuple_GET_ITEM(entry, 1);
    const long fd = PyLong_AsLong(number), bits = PyLong_AsLong(events);
    if (PyErr_Occurred())
        return -1;
    const int readable = bits == EPOLLIN ? is_at_rest(batch, fd, number) : 0;
    if (readable <= 0)
        return readable < 0 ? -1 : append(batch->others, number, Py_NewRef(events));
    unsigned char data[MAX_READ_BYTES];
    const ssize_t count = recv((int)fd, data, (size_t)batch->size, MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return 0;
    return take(batch, fd, number, data, count < 0 ? 0 : count);
}

static PyObject *read_messages(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *ready;
    Batch batch = {0};
    if (!PyArg_ParseTuple(args, "O!nn(O!O!O!)O!O!", &PyList_Type, &ready, &batch.size, &batch.limit, &PyList_Type,
                          &batch.state, &PyList_Type, &batch.last_read, &PyList_Type, &batch.last_message, &PyDict_Type,
                          &batch.parsers, &PyLong_Type, &batch.now))
        return NULL;
    if (batch.size <= 0 || batch.size > MAX_READ_BYTES)
        return PyErr_Format(PyExc_ValueError, "size is 1 to %d", MAX_READ_BYTES);
    batch.messages = PyList_New(0);
    batch.others = PyList_New(0);
    int failed = !batch.messages || !batch.others;
    for (Py_ssize_t at = 0; !failed && at < PyList_GET_SIZE(ready); at++) {
        PyObject *entry = Py_NewRef(PyList_GET_ITEM(ready, at)); /* an allocation may run the garbage collector */
        failed = read_one(&batch, entry);
        Py_DECREF(entry);
    }
    PyObject *found = failed ? NULL : Py_BuildValue("(OOn)", batch.messages, batch.others, batch.byte_count);
    Py_XDECREF(batch.messages);
    Py_XDECREF(batch.others);
    return found;
}

/* Send one (fd, frame); record it in `unsent` if the kernel did not take all of it. Return the bytes taken, or -1. */
static Py_ssize_t write_one(PyObject *pair, PyObject *unsent)
{
    if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2 || !PyBytes_Check(PyTuple_GET_ITEM(pair, 1))) {
        PyErr_SetString(PyExc_TypeError, "frames: pairs of descriptor and bytes are expected");
        return -1;
    }
    PyObject *number = PyTuple_GET_ITEM(pair, 0), *frame = PyTuple_GET_ITEM(pair, 1);
    const long fd = PyLong_AsLong(number);
    if (PyErr_Occurred())
        return -1;
    if (fd < 0 || fd > INT_MAX) {
        PyErr_SetString(PyExc_OverflowError, "frames: no such descriptor");
        return -1;
    }
    const Py_ssize_t size = PyBytes_GET_SIZE(frame);
    const ssize_t taken = send((int)fd, PyBytes_AS_STRING(frame), (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
    const Py_ssize_t sent = taken < 0 ? 0 : taken;
    if (sent == size)
        return sent;
    PyObject *note = Py_BuildValue("(OOn)", number, frame, sent);
    const int failed = note ? PyList_Append(unsent, note) : -1;
    Py_XDECREF(note);
    return failed ? -1 : sent;
}

static PyObject *write_frames(PyObject *module, PyObject *frames)
{
    (void)module;
    PyObject *pairs = PyObject_GetIter(frames), *unsent = PyList_New(0), *pair;
    Py_ssize_t total = 0, sent = 0;
    while (pairs && unsent && sent >= 0 && (pair = PyIter_Next(pairs))) {
        sent = write_one(pair, unsent);
        total += sent;
        Py_DECREF(pair);
    }
    PyObject *found = PyErr_Occurred() ? NULL : Py_BuildValue("(nO)", total, unsent);
    Py_XDECREF(pairs);
    Py_XDECREF(unsent);
    return found;
}

static PyMethodDef methods[] = {
    {"read_messages", read_messages, METH_VARARGS, "See roost.gateway.io.batch.read_messages_by."},
    {"write_frames", write_frames, METH_O, "See roost.gateway.io.batch.write_frames_by."},
    {NULL, NULL, 0, NULL},
};

static int fill(PyObject *module)
{
    return PyModule_AddIntMacro(module, OPEN) || PyModule_AddIntMacro(module, MAX_READ_BYTES) ? -1 : 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, fill}, {0, NULL}};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "roost.gateway.io._batch",
    .m_doc = "Many small reads, or many small writes, in one call.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__batch(void)
{
    return PyModuleDef_Init(&definition);
}
