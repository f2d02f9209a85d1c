/* One pass over a column of numbers: the same counts as tools/check_drift/counting.py makes with NumPy, in one reading
   and without the interpreter's lock. Optional: where no compiler was at hand, NumPy does it. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define CHUNK 1024
#define LANES 4
#define SHIFT 13
#define KEYS (1u << (32 - SHIFT))

typedef struct {
    double total, squares, minimum, maximum;
    int64_t nulls, pos_inf, neg_inf;
    int integral;
} Tally;

static inline uint32_t key_of(double centred) {
    float single;
    uint32_t bits;
    centred = centred > FLT_MAX ? FLT_MAX : centred < -FLT_MAX ? -FLT_MAX : centred;
    single = (float)centred;
    memcpy(&bits, &single, sizeof bits);
    return bits >> SHIFT;
}

/* Keeps what is finite and counts the rest; returns how many are left. */
static Py_ssize_t only_finite(double *values, Py_ssize_t size, Tally *tally) {
    Py_ssize_t kept = 0;
    for (Py_ssize_t i = 0; i < size; i++) {
        double value = values[i];
        if (isnan(value))
            tally->nulls++;
        else if (isinf(value))
            *(value > 0 ? &tally->pos_inf : &tally->neg_inf) += 1;
        else
            values[kept++] = value;
    }
    return kept;
}

static int whole(const double *values, Py_ssize_t size) {
    for (Py_ssize_t i = 0; i < size; i++)
        if (values[i] != rint(values[i]))
            return 0;
    return 1;
}

/* Finite values: extremes, sums around the centre, and one more in the table at each value's key. */
static void take(const double *values, Py_ssize_t size, double centre, int32_t *table, Tally *tally) {
    uint32_t keys[CHUNK];
    double total[LANES] = {0}, squares[LANES] = {0}, low[LANES], high[LANES];
    Py_ssize_t i = 0;
    for (int lane = 0; lane < LANES; lane++)
        low[lane] = high[lane] = values[0];
    for (; i + LANES <= size; i += LANES)
        for (int lane = 0; lane < LANES; lane++) {
            double value = values[i + lane], centred = value - centre;
            total[lane] += centred;
            squares[lane] += centred * centred;
            low[lane] = value < low[lane] ? value : low[lane];
            high[lane] = value > high[lane] ? value : high[lane];
            keys[i + lane] = key_of(centred);
        }
    for (; i < size; i++) {
        double value = values[i], centred = value - centre;
        total[0] += centred;
        squares[0] += centred * centred;
        low[0] = value < low[0] ? value : low[0];
        high[0] = value > high[0] ? value : high[0];
        keys[i] = key_of(centred);
    }
    for (int lane = 1; lane < LANES; lane++) {
        low[0] = low[lane] < low[0] ? low[lane] : low[0];
        high[0] = high[lane] > high[0] ? high[lane] : high[0];
    }
    tally->total += (total[0] + total[1]) + (total[2] + total[3]);
    tally->squares += (squares[0] + squares[1]) + (squares[2] + squares[3]);
    tally->minimum = low[0] < tally->minimum ? low[0] : tally->minimum;
    tally->maximum = high[0] > tally->maximum ? high[0] : tally->maximum;
    for (i = 0; i < size; i++)
        table[keys[i]]++;
}

/* Whether all of a chunk is finite: x - x is NaN for what is not, and a sum with a NaN is one. */
static int all_finite(const double *values, Py_ssize_t size) {
    double sum[LANES] = {0};
    Py_ssize_t i = 0;
    for (; i + LANES <= size; i += LANES)
        for (int lane = 0; lane < LANES; lane++)
            sum[lane] += values[i + lane] - values[i + lane];
    for (; i < size; i++)
        sum[0] += values[i] - values[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]) == 0;
}

static void scan_column(const char *at, Py_ssize_t rows, Py_ssize_t stride, int single, double centre, int32_t *table,
                        Tally *tally) {
    double copied[CHUNK];
    for (Py_ssize_t start = 0; start < rows; start += CHUNK) {
        Py_ssize_t size = rows - start < CHUNK ? rows - start : CHUNK;
        if (single)
            for (Py_ssize_t i = 0; i < size; i++) {
                float value;
                memcpy(&value, at + i * stride, sizeof value);
                copied[i] = value;
            }
        else if (stride == (Py_ssize_t)sizeof(double))
            memcpy(copied, at, size * sizeof(double));
        else
            for (Py_ssize_t i = 0; i < size; i++)
                memcpy(copied + i, at + i * stride, sizeof(double));
        at += size * stride;
        if (!all_finite(copied, size))
            size = only_finite(copied, size, tally);
        if (!size)
            continue;
        take(copied, size, centre, table, tally);
        if (tally->integral)
            tally->integral = whole(copied, size);
    }
}

static PyObject *scan(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_buffer values, table;
    PyObject *column, *counters;
    double centre;
    Tally tally = {.minimum = INFINITY, .maximum = -INFINITY, .integral = 1};
    if (!PyArg_ParseTuple(args, "OdO", &column, &centre, &counters))
        return NULL;
    if (PyObject_GetBuffer(column, &values, PyBUF_RECORDS_RO) < 0)
        return NULL;
    if (PyObject_GetBuffer(counters, &table, PyBUF_CONTIG | PyBUF_FORMAT) < 0) {
        PyBuffer_Release(&values);
        return NULL;
    }
    int single = !strcmp(values.format, "f");
    int fits = values.ndim == 1 && (single || !strcmp(values.format, "d")) && !strcmp(table.format, "i") &&
               table.len == (Py_ssize_t)(KEYS * sizeof(int32_t)) && values.shape[0] <= INT32_MAX;
    if (fits) {
        Py_BEGIN_ALLOW_THREADS
        scan_column(values.buf, values.shape[0], values.strides[0], single, centre, table.buf, &tally);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&values);
    PyBuffer_Release(&table);
    if (!fits) {
        PyErr_Format(PyExc_ValueError, "scan takes a column of float32 or float64 and a table of %u int32", KEYS);
        return NULL;
    }
    return Py_BuildValue("(LLLddddN)", (long long)tally.nulls, (long long)tally.pos_inf, (long long)tally.neg_inf,
                         tally.total, tally.squares, tally.minimum, tally.maximum, PyBool_FromLong(tally.integral));
}

static PyMethodDef methods[] = {
    {"scan", scan, METH_VARARGS,
     "scan(values, centre, table) -> (nulls, pos_inf, neg_inf, total, squares, minimum, maximum, integral)"},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_scan", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__scan(void) { return PyModule_Create(&module); }
