/* The two loops that a drift check spends its time in, without the interpreter's lock: counting the keys of a column and
   merging two histograms. Optional: where no compiler was at hand, tools/check_drift/counting.py does the same by NumPy. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define CHUNK 2048
#define LANES 16
#define SHIFT 13
#define KEYS (1u << (32 - SHIFT))
#define SIGN (KEYS / 2)
#define LINE 16

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif

typedef struct {
    double total, squares, minimum, maximum;
    int64_t nulls, pos_inf, neg_inf;
    int integral;
} Tally;

static inline uint32_t bits_of(double centred) {
    float single = (float)centred;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    return bits >> SHIFT;
}

static inline double clamped(double centred) {
    return centred > FLT_MAX ? FLT_MAX : centred < -FLT_MAX ? -FLT_MAX : centred;
}

static inline uint32_t key_of(double centred) { return bits_of(clamped(centred)); }

/* Copies what is finite and counts the rest; returns how many are left. Without branches: nulls come at random. */
WIDE static Py_ssize_t only_finite(const double *values, Py_ssize_t size, double *kept, Tally *tally) {
    Py_ssize_t left = 0;
    int64_t nulls = 0, above = 0, below = 0;
    for (Py_ssize_t i = 0; i < size; i++) {
        nulls += values[i] != values[i];
        above += values[i] > DBL_MAX;
        below += values[i] < -DBL_MAX;
    }
    for (Py_ssize_t i = 0; i < size; i++) {
        kept[left] = values[i];
        left += fabs(values[i]) <= DBL_MAX;
    }
    tally->nulls += nulls;
    tally->pos_inf += above;
    tally->neg_inf += below;
    return left;
}

WIDE static int whole(const double *values, Py_ssize_t size) {
    int64_t parts = 0;
    for (Py_ssize_t i = 0; i < size; i++)
        parts += values[i] != rint(values[i]);
    return !parts;
}

typedef struct {
    double total, squares, low, high;
} Sums;

/* Sums around the centre, extremes and keys of at least one value; what is not finite makes the total so. */
WIDE static Sums sum_up(const double *values, Py_ssize_t size, double centre, uint32_t *keys) {
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
            keys[i + lane] = bits_of(centred);
        }
    for (; i < size; i++) {
        double value = values[i], centred = value - centre;
        total[0] += centred;
        squares[0] += centred * centred;
        low[0] = value < low[0] ? value : low[0];
        high[0] = value > high[0] ? value : high[0];
        keys[i] = bits_of(centred);
    }
    for (int half = LANES / 2; half; half /= 2)
        for (int lane = 0; lane < half; lane++) {
            total[lane] += total[lane + half];
            squares[lane] += squares[lane + half];
            low[lane] = low[lane + half] < low[lane] ? low[lane + half] : low[lane];
            high[lane] = high[lane + half] > high[lane] ? high[lane + half] : high[lane];
        }
    return (Sums){total[0], squares[0], low[0], high[0]};
}

/* A chunk's values into the table and the tally. */
static void take(const double *values, Py_ssize_t size, double centre, int32_t *table, Tally *tally) {
    uint32_t keys[CHUNK];
    double kept[CHUNK];
    Sums sums = sum_up(values, size, centre, keys);
    if (!isfinite(sums.total)) {
        size = only_finite(values, size, kept, tally);
        if (!size)
            return;
        values = kept;
        sums = sum_up(values, size, centre, keys);
    }
    if (sums.low - centre < -FLT_MAX || sums.high - centre > FLT_MAX)
        for (Py_ssize_t i = 0; i < size; i++)
            keys[i] = key_of(values[i] - centre);
    for (Py_ssize_t i = 0; i < size; i++)
        table[keys[i]]++;
    tally->total += sums.total;
    tally->squares += sums.squares;
    tally->minimum = sums.low < tally->minimum ? sums.low : tally->minimum;
    tally->maximum = sums.high > tally->maximum ? sums.high : tally->maximum;
    tally->integral = tally->integral && whole(values, size);
}

static void scan_column(const char *at, Py_ssize_t rows, Py_ssize_t stride, int single, double centre, int32_t *table,
                        Tally *tally) {
    int in_place = !single && stride == (Py_ssize_t)sizeof(double) && (uintptr_t)at % sizeof(double) == 0;
    double copied[CHUNK];
    for (Py_ssize_t start = 0; start < rows; start += CHUNK) {
        Py_ssize_t size = rows - start < CHUNK ? rows - start : CHUNK;
        for (Py_ssize_t i = 0; i < size && !in_place; i++)
            if (single) {
                float value;
                memcpy(&value, at + i * stride, sizeof value);
                copied[i] = value;
            } else
                memcpy(copied + i, at + i * stride, sizeof(double));
        take(in_place ? (const double *)at : copied, size, centre, table, tally);
        at += size * stride;
    }
}

/* Appends the counts of a stretch of keys, from `first` to `last` in either direction, and takes them off the table. */
static Py_ssize_t drain(int32_t *table, int64_t first, int64_t last, int64_t *ranks, int64_t *counts, Py_ssize_t found) {
    int64_t step = first <= last ? 1 : -1;
    for (int64_t key = first; key != last + step;) {
        int64_t line = step > 0 ? key : key - LINE + 1;
        if ((last - key) * step >= LINE - 1) { /* a whole line of the table: most are empty where values are few */
            int32_t any = 0;
            for (int i = 0; i < LINE; i++)
                any |= table[line + i];
            if (!any) {
                key += step * LINE;
                continue;
            }
        }
        for (int i = 0; i < LINE && key != last + step; i++, key += step)
            if (table[key]) {
                ranks[found] = key < SIGN ? key + SIGN : 2 * (int64_t)SIGN - 1 - key;
                counts[found++] = table[key];
                table[key] = 0;
            }
    }
    return found;
}

/* The table as ascending ranks and their counts; returns how many. */
static Py_ssize_t drain_all(int32_t *table, double low, double high, int64_t *ranks, int64_t *counts) {
    Py_ssize_t found = 0;
    if (low <= 0) {
        table[0] += table[SIGN]; /* -0.0 is zero */
        table[SIGN] = 0;
        found = drain(table, key_of(-fabs(low)), high < 0 ? key_of(high) : SIGN, ranks, counts, found);
        if (high < 0 && table[0]) /* what single precision cannot tell from zero */
            high = 0;
    }
    if (high >= 0)
        found = drain(table, low > 0 ? key_of(low) : 0, key_of(fabs(high)), ranks, counts, found);
    return found;
}

/* Two ascending histograms as one: every rank of either, and how many values each side has up to it. */
static Py_ssize_t merge_sides(const int64_t *ranks_a, const int64_t *counts_a, Py_ssize_t size_a, const int64_t *ranks_b,
                              const int64_t *counts_b, Py_ssize_t size_b, int64_t *ranks, int64_t *up_to_a,
                              int64_t *up_to_b) {
    Py_ssize_t i = 0, j = 0, found = 0;
    int64_t a = 0, b = 0;
    while (i < size_a && j < size_b) {
        int64_t left = ranks_a[i], right = ranks_b[j];
        int64_t from_a = left <= right, from_b = right <= left;
        a += counts_a[i] & -from_a;
        b += counts_b[j] & -from_b;
        i += from_a;
        j += from_b;
        ranks[found] = from_a ? left : right;
        up_to_a[found] = a;
        up_to_b[found++] = b;
    }
    for (; i < size_a; i++, found++) {
        ranks[found] = ranks_a[i];
        up_to_a[found] = a += counts_a[i];
        up_to_b[found] = b;
    }
    for (; j < size_b; j++, found++) {
        ranks[found] = ranks_b[j];
        up_to_a[found] = a;
        up_to_b[found] = b += counts_b[j];
    }
    return found;
}

/* A view of one dimension, contiguous, of int32 or int64 ("i", "l" or "q" by the machine's names). */
static int view(PyObject *object, Py_buffer *buffer, Py_ssize_t width, int writable) {
    if (PyObject_GetBuffer(object, buffer, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0)) < 0)
        return 0;
    if (buffer->ndim == 1 && buffer->itemsize == width && strchr("ilq", buffer->format[0]) && !buffer->format[1])
        return 1;
    PyBuffer_Release(buffer);
    PyErr_Format(PyExc_ValueError, "expected a row of int%d", (int)(8 * width));
    return 0;
}

static PyObject *scan(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_buffer values, held[3];
    PyObject *column, *rows[3];
    double centre;
    Py_ssize_t found = 0;
    int ready = 0;
    Tally tally = {.minimum = INFINITY, .maximum = -INFINITY, .integral = 1};
    if (!PyArg_ParseTuple(args, "OdOOO", &column, &centre, rows, rows + 1, rows + 2))
        return NULL;
    if (PyObject_GetBuffer(column, &values, PyBUF_RECORDS_RO) < 0)
        return NULL;
    while (ready < 3 && view(rows[ready], held + ready, ready ? sizeof(int64_t) : sizeof(int32_t), 1))
        ready++;
    if (ready == 3) {
        int single = !strcmp(values.format, "f");
        int fits = values.ndim == 1 && (single || !strcmp(values.format, "d")) && values.shape[0] <= INT32_MAX;
        for (int i = 0; i < 3; i++)
            fits = fits && held[i].shape[0] == KEYS;
        if (fits) {
            Py_BEGIN_ALLOW_THREADS
            scan_column(values.buf, values.shape[0], values.strides[0], single, centre, held[0].buf, &tally);
            if (tally.minimum <= tally.maximum)
                found = drain_all(held[0].buf, tally.minimum - centre, tally.maximum - centre, held[1].buf, held[2].buf);
            Py_END_ALLOW_THREADS
        } else
            PyErr_Format(PyExc_ValueError, "scan takes a column of float32 or float64 and rows of %u integers", KEYS);
    }
    while (ready)
        PyBuffer_Release(held + --ready);
    PyBuffer_Release(&values);
    if (PyErr_Occurred())
        return NULL;
    return Py_BuildValue("n(LLLddddN)", found, (long long)tally.nulls, (long long)tally.pos_inf,
                         (long long)tally.neg_inf, tally.total, tally.squares, tally.minimum, tally.maximum,
                         PyBool_FromLong(tally.integral));
}

static PyObject *merge(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_buffer held[7];
    PyObject *rows[7];
    Py_ssize_t found = 0;
    int ready = 0;
    if (!PyArg_ParseTuple(args, "OOOOOOO", rows, rows + 1, rows + 2, rows + 3, rows + 4, rows + 5, rows + 6))
        return NULL;
    while (ready < 7 && view(rows[ready], held + ready, sizeof(int64_t), ready >= 4))
        ready++;
    if (ready == 7) {
        Py_ssize_t size_a = held[0].shape[0], size_b = held[2].shape[0];
        int fits = held[1].shape[0] == size_a && held[3].shape[0] == size_b;
        for (int i = 4; i < 7; i++)
            fits = fits && held[i].shape[0] >= size_a + size_b;
        if (fits) {
            Py_BEGIN_ALLOW_THREADS
            found = merge_sides(held[0].buf, held[1].buf, size_a, held[2].buf, held[3].buf, size_b, held[4].buf,
                                held[5].buf, held[6].buf);
            Py_END_ALLOW_THREADS
        } else
            PyErr_SetString(PyExc_ValueError, "merge takes two histograms and three rows for the result");
    }
    while (ready)
        PyBuffer_Release(held + --ready);
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(found);
}

static PyMethodDef methods[] = {
    {"scan", scan, METH_VARARGS,
     "scan(values, centre, table, ranks, counts)"
     " -> (found, (nulls, pos_inf, neg_inf, total, squares, minimum, maximum, integral))"},
    {"merge", merge, METH_VARARGS, "merge(ranks_a, counts_a, ranks_b, counts_b, ranks, up_to_a, up_to_b) -> found"},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_compiled", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__compiled(void) { return PyModule_Create(&module); }
