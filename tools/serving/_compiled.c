/* The trees of a histogram gradient boosting, from the rows of a request to the sums: by scikit-learn that is a call a
   tree, and by NumPy a call a step before them, each longer than what it computes for a few rows. boosting.py says what
   the arrays hold, and has made sure that no node leads out of them. Optional: where no compiler was at hand it makes
   those calls. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define WORDS 8 /* of 32 bits: categories have numbers below 256 */
#define FOREST "tools.serving._compiled.forest"

/* boosting.NODE: four in a line of the cache, and to the left it goes on in the same one. */
typedef struct {
    double value;
    int32_t right;
    uint16_t feature;
    uint8_t categorical, missing_left;
} Node;

typedef struct {
    const char *format; /* of an item; NULL: a node */
    int dimensions, flags;
    Py_ssize_t itemsize;
} Wanted;

enum { NODES, BITS, ROOTS, START, PLACES, KINDS, VALUES, ARRAYS };

typedef struct {
    Py_buffer held[ARRAYS];
} Forest;

static int view(PyObject *object, Py_buffer *found, const Wanted *wanted, const char *message) {
    if (PyObject_GetBuffer(object, found, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | wanted->flags) < 0)
        return 0;
    if (found->ndim == wanted->dimensions && found->itemsize == wanted->itemsize &&
        (wanted->format == NULL || !strcmp(found->format, wanted->format)))
        return 1;
    PyBuffer_Release(found);
    PyErr_SetString(PyExc_ValueError, message);
    return 0;
}

static void release(Forest *forest, int ready) {
    while (ready)
        PyBuffer_Release(forest->held + --ready);
    PyMem_Free(forest);
}

static void ended(PyObject *capsule) { release(PyCapsule_GetPointer(capsule, FOREST), ARRAYS); }

static PyObject *forest(PyObject *Py_UNUSED(module), PyObject *args) {
    static const char *message = "forest takes nodes, uint32 (n, 8), int64 (trees), float64 (classes), int64 (columns),"
                                 " int64 (operations), float64 (operations, columns)";
    static const Wanted wanted[ARRAYS] = {
        {NULL, 1, 0, sizeof(Node)},     {"I", 2, 0, sizeof(uint32_t)}, {"l", 1, 0, sizeof(int64_t)},
        {"d", 1, 0, sizeof(double)},    {"l", 1, 0, sizeof(int64_t)},  {"l", 1, 0, sizeof(int64_t)},
        {"d", 2, 0, sizeof(double)},
    };
    PyObject *object[ARRAYS];
    if (!PyArg_ParseTuple(args, "OOOOOOO", object, object + 1, object + 2, object + 3, object + 4, object + 5,
                          object + 6))
        return NULL;
    Forest *made = PyMem_Calloc(1, sizeof(Forest));
    if (made == NULL)
        return PyErr_NoMemory();
    int ready = 0;
    while (ready < ARRAYS && view(object[ready], made->held + ready, wanted + ready, message))
        ready++;
    const Py_buffer *held = made->held;
    if (ready == ARRAYS &&
        (held[BITS].shape[1] != WORDS || held[START].shape[0] < 1 || held[VALUES].shape[0] != held[KINDS].shape[0] ||
         held[VALUES].shape[1] != held[PLACES].shape[0]))
        PyErr_SetString(PyExc_ValueError, message);
    PyObject *capsule = PyErr_Occurred() ? NULL : PyCapsule_New(made, FOREST, ended);
    if (capsule == NULL)
        release(made, ready);
    return capsule;
}

/* One row's numbers, in the trees' order. Only what runs no Python code: the rows must not change meanwhile. */
static int numbers(PyObject *row, const Py_buffer *places, double *found) {
    if (!PyTuple_Check(row) && !PyList_Check(row)) {
        PyErr_SetString(PyExc_TypeError, "walk takes rows that are tuples or lists");
        return 0;
    }
    const int64_t *place = places->buf;
    for (Py_ssize_t i = 0; i < places->shape[0]; i++) {
        if (place[i] < 0 || place[i] >= PySequence_Fast_GET_SIZE(row)) {
            PyErr_SetString(PyExc_ValueError, "walk takes as many numbers a row as the trees count");
            return 0;
        }
        PyObject *item = PySequence_Fast_GET_ITEM(row, place[i]);
        if (PyFloat_Check(item))
            found[i] = PyFloat_AS_DOUBLE(item);
        else if (item == Py_None)
            found[i] = NAN;
        else if (!PyLong_CheckExact(item)) {
            PyErr_Format(PyExc_TypeError, "walk takes numbers and None, not %.80s", Py_TYPE(item)->tp_name);
            return 0;
        } else if ((found[i] = PyLong_AsDouble(item)) == -1.0 && PyErr_Occurred())
            return 0;
    }
    return 1;
}

/* arithmetic.OPERATIONS, each in a loop of its own: fused with the next it would round otherwise. */
static void operate(const Forest *forest, double *row) {
    const int64_t *kind = forest->held[KINDS].buf;
    const double *by = forest->held[VALUES].buf;
    Py_ssize_t width = forest->held[VALUES].shape[1];
    for (Py_ssize_t each = 0; each < forest->held[KINDS].shape[0]; each++, by += width)
        switch (kind[each]) {
        case 0:
            for (Py_ssize_t i = 0; i < width; i++)
                row[i] -= by[i];
            break;
        case 1:
            for (Py_ssize_t i = 0; i < width; i++)
                row[i] /= by[i];
            break;
        case 2:
            for (Py_ssize_t i = 0; i < width; i++)
                row[i] *= by[i];
            break;
        case 3:
            for (Py_ssize_t i = 0; i < width; i++)
                row[i] += by[i];
            break;
        default:
            for (Py_ssize_t i = 0; i < width; i++)
                row[i] = isnan(row[i]) ? by[i] : row[i];
        }
}

static inline int has(const uint32_t *bits, unsigned category) {
    return bits[category / 32] >> (category % 32) & 1;
}

static inline int goes_left(const Node *node, const uint32_t *bits, double x) {
    if (isnan(x))
        return node->missing_left;
    if (!node->categorical)
        return x <= node->value;
    if (!(x >= 0 && x < 32 * WORDS))
        return node->missing_left;
    const uint32_t *lefts = bits + (size_t)node->value * WORDS, *known = lefts + WORDS;
    unsigned category = (unsigned)x;
    return has(lefts, category) || (!has(known, category) && node->missing_left);
}

static void add_leaves(const Forest *forest, const double *matrix, Py_ssize_t rows, double *sums) {
    const Py_buffer *held = forest->held;
    const Node *nodes = held[NODES].buf;
    const int64_t *roots = held[ROOTS].buf;
    Py_ssize_t width = held[PLACES].shape[0], classes = held[START].shape[0];
    for (Py_ssize_t row = 0; row < rows; row++)
        memcpy(sums + row * classes, held[START].buf, classes * sizeof(double));
    for (Py_ssize_t tree = 0; tree < held[ROOTS].shape[0]; tree++)
        for (Py_ssize_t row = 0; row < rows; row++) {
            const Node *node = nodes + roots[tree];
            while (node->right)
                node = goes_left(node, held[BITS].buf, matrix[row * width + node->feature]) ? node + 1
                                                                                            : nodes + node->right;
            sums[row * classes + tree % classes] += node->value;
        }
}

static PyObject *walk(PyObject *Py_UNUSED(module), PyObject *args) {
    static const char *message = "walk takes a forest, a list of rows and float64 (rows, classes)";
    static const Wanted wanted = {"d", 2, PyBUF_WRITABLE, sizeof(double)};
    PyObject *capsule, *rows, *into;
    Py_buffer sums;
    if (!PyArg_ParseTuple(args, "OO!O", &capsule, &PyList_Type, &rows, &into))
        return NULL;
    const Forest *by = PyCapsule_GetPointer(capsule, FOREST);
    if (by == NULL || !view(into, &sums, &wanted, message))
        return NULL;
    const Py_buffer *places = by->held + PLACES;
    Py_ssize_t size = PyList_GET_SIZE(rows), width = places->shape[0];
    double *matrix = NULL;
    if (sums.shape[0] != size || sums.shape[1] != by->held[START].shape[0])
        PyErr_SetString(PyExc_ValueError, message);
    else if ((matrix = PyMem_Calloc((size_t)size * width + 1, sizeof(double))) == NULL)
        PyErr_NoMemory();
    for (Py_ssize_t row = 0; row < size && !PyErr_Occurred(); row++)
        if (numbers(PyList_GET_ITEM(rows, row), places, matrix + row * width))
            operate(by, matrix + row * width);
    if (!PyErr_Occurred())
        add_leaves(by, matrix, size, sums.buf);
    PyMem_Free(matrix);
    PyBuffer_Release(&sums);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"forest", forest, METH_VARARGS,
     "forest(nodes, bits, roots, start, places, kinds, values): trees, and what is done to a row before them"},
    {"walk", walk, METH_VARARGS,
     "walk(forest, rows, sums): sets the sums to the start and each tree's leaf, the trees by class in turn"},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_compiled", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__compiled(void) { return PyModule_Create(&module); }
