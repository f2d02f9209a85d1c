/* The trees of a histogram gradient boosting, walked for a few rows: by scikit-learn that is a call a tree, which takes
   longer than the tree. boosting.py says what the arrays hold, and has made sure that no node leads out of them.
   Optional: where no compiler was at hand it makes those calls. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define WORDS 8 /* of 32 bits: categories have numbers below 256 */

/* boosting.NODE. `value` is a leaf's, else the threshold; `feature` < 0 in a leaf; `lefts` and `known` are rows of the
   bits where categories are split, `lefts` < 0 where numbers are. */
typedef struct {
    double value;
    int32_t feature, left, right, lefts, known, missing_left;
} Node;

static inline int has(const uint32_t *bits, int32_t row, unsigned category) {
    return bits[row * WORDS + category / 32] >> (category % 32) & 1;
}

static inline int goes_left(const Node *node, const uint32_t *bits, double x) {
    if (isnan(x))
        return node->missing_left;
    if (node->lefts < 0)
        return x <= node->value;
    if (!(x >= 0 && x < 32 * WORDS))
        return node->missing_left;
    unsigned category = (unsigned)x;
    return has(bits, node->lefts, category) || (!has(bits, node->known, category) && node->missing_left);
}

typedef struct {
    const char *format; /* of an item; NULL: a node */
    int dimensions, flags;
    Py_ssize_t itemsize;
} Wanted;

static int view(PyObject *object, Py_buffer *found, const Wanted *wanted) {
    if (PyObject_GetBuffer(object, found, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | wanted->flags) < 0)
        return 0;
    if (found->ndim == wanted->dimensions && found->itemsize == wanted->itemsize &&
        (wanted->format == NULL || !strcmp(found->format, wanted->format)))
        return 1;
    PyBuffer_Release(found);
    PyErr_SetString(PyExc_ValueError, "walk takes float64 (rows, columns), nodes, uint32 (n, 8), int64 (trees),"
                                      " float64 (rows, classes)");
    return 0;
}

static PyObject *walk(PyObject *Py_UNUSED(module), PyObject *args) {
    static const Wanted wanted[5] = {{"d", 2, 0, sizeof(double)},
                                     {NULL, 1, 0, sizeof(Node)},
                                     {"I", 2, 0, sizeof(uint32_t)},
                                     {"l", 1, 0, sizeof(int64_t)},
                                     {"d", 2, PyBUF_WRITABLE, sizeof(double)}};
    PyObject *object[5];
    Py_ssize_t width;
    Py_buffer held[5];
    if (!PyArg_ParseTuple(args, "OOOOOn", object, object + 1, object + 2, object + 3, object + 4, &width))
        return NULL;
    int ready = 0;
    while (ready < 5 && view(object[ready], held + ready, wanted + ready))
        ready++;
    if (ready == 5 && (held[0].shape[1] != width || held[2].shape[1] != WORDS ||
                       held[4].shape[0] != held[0].shape[0] || held[4].shape[1] < 1))
        PyErr_SetString(PyExc_ValueError, "walk takes as many columns as the trees count, and a row of sums a row");
    else if (ready == 5) {
        const double *matrix = held[0].buf;
        const Node *nodes = held[1].buf;
        const uint32_t *bits = held[2].buf;
        const int64_t *roots = held[3].buf;
        double *sums = held[4].buf;
        Py_ssize_t rows = held[0].shape[0], trees = held[3].shape[0], classes = held[4].shape[1];
        for (Py_ssize_t tree = 0; tree < trees; tree++)
            for (Py_ssize_t row = 0; row < rows; row++) {
                const Node *node = nodes + roots[tree];
                while (node->feature >= 0)
                    node = nodes +
                           (goes_left(node, bits, matrix[row * width + node->feature]) ? node->left : node->right);
                sums[row * classes + tree % classes] += node->value;
            }
    }
    while (ready)
        PyBuffer_Release(held + --ready);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"walk", walk, METH_VARARGS,
     "walk(matrix, nodes, bits, roots, sums, width): adds each tree's leaf to the sums, the trees by class in turn"},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_compiled", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__compiled(void) { return PyModule_Create(&module); }
