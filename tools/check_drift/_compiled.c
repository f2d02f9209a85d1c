/* The loops that a drift check spends its time in: counting the keys of a column or the codes of its categories, walking
   along two histograms, and comparing two rows of counts. Optional: where no compiler was at hand counting.py,
   categorical.py, distance.py and divergence.py, which say what is computed and why, do the same by NumPy. */

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
#define ROWS (1 << 30)

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
        for (int i = 0; i < LINE && key != last + step; i++, key += step) { /* which counters hold something is random */
            ranks[found] = key < SIGN ? key + SIGN : 2 * (int64_t)SIGN - 1 - key;
            counts[found] = table[key];
            found += table[key] != 0;
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

typedef struct {
    const int64_t *ranks, *counts;
    Py_ssize_t bins;
    double below, size, finite; /* values below all bins, values with the infinities, values in the bins */
} Side;

/* The middle of a rank's bin, relative to the centre; closer than 1e-38 to it counts as on it. */
static inline double middle_of(int64_t rank) {
    uint32_t negative = rank < (int64_t)SIGN ? 0xFFFFFFFFu : 0;
    uint32_t bits = ((((uint32_t)rank - SIGN) ^ negative) << SHIFT) | 1u << (SHIFT - 1);
    float middle;
    memcpy(&middle, &bits, sizeof middle);
    if (bits < 0x00800000u)
        return 0;
    return negative ? -(double)middle : (double)middle;
}

/* Along every rank of either side: the largest gap between the shares up to a rank's end, the largest there may be within
   a bin outside [first, after), and the area between the sides' finite shares. */
static void walk(Side one, Side two, int64_t first, int64_t after, double *gap, double *within, double *area) {
    double per_one = 1 / one.size, per_two = 1 / two.size, part_one = 1 / one.finite, part_two = 1 / two.finite;
    double up_one = one.below * per_one, up_two = two.below * per_two, middle = 0, apart = 0;
    double least = 0, most = 0, inside = 0, total = 0;
    int64_t sum_one = 0, sum_two = 0;
    for (Py_ssize_t i = 0, j = 0; i < one.bins || j < two.bins;) {
        int64_t left = i < one.bins ? one.ranks[i] : INT64_MAX, right = j < two.bins ? two.ranks[j] : INT64_MAX;
        int64_t from_one = left <= right, from_two = right <= left, rank = from_one ? left : right;
        double before_one = up_one, before_two = up_two, here = middle_of(rank), wide, other;
        sum_one += one.counts[i < one.bins ? i : 0] & -from_one; /* without branches: the sides take turns at random */
        sum_two += two.counts[j < two.bins ? j : 0] & -from_two;
        total += i + j ? apart * (here - middle) : 0;
        i += from_one;
        j += from_two;
        middle = here;
        up_one = (one.below + (double)sum_one) * per_one;
        up_two = (two.below + (double)sum_two) * per_two;
        apart = fabs((double)sum_one * part_one - (double)sum_two * part_two);
        least = up_one - up_two < least ? up_one - up_two : least;
        most = up_one - up_two > most ? up_one - up_two : most;
        wide = up_one - before_two;
        other = up_two - before_one;
        wide = wide > other ? wide : other;
        wide = rank >= first && rank < after ? 0 : wide;
        inside = wide > inside ? wide : inside;
    }
    *gap = most > -least ? most : -least;
    *within = inside;
    *area = total;
}

/* How often each byte occurs. A counter that was just written is waited for, and equal codes follow each other: four
   rows of counters take turns. */
static void tally_bytes(const uint8_t *bytes, Py_ssize_t size, int64_t *counts) {
    uint32_t held[4][256] = {{0}};
    for (Py_ssize_t start = 0; start < size; start += ROWS) {
        Py_ssize_t i = start, end = size - start < ROWS ? size : start + ROWS;
        for (; i + 4 <= end; i += 4)
            for (int turn = 0; turn < 4; turn++)
                held[turn][bytes[i + turn]]++;
        for (; i < end; i++)
            held[0][bytes[i]]++;
        for (int turn = 0; turn < 4; turn++)
            for (int code = 0; code < 256; code++) {
                counts[code] += held[turn][code];
                held[turn][code] = 0;
            }
    }
}

typedef struct {
    double psi, kl, js, hellinger, variation;
} Divergences;

/* Of floored shares of the bins that either side occupies; NaN where a side counts nothing. */
static Divergences diverge(const double *before, const double *after, Py_ssize_t bins, double floor_of) {
    double n = 0, m = 0, p_total = 0, q_total = 0, alike = 0;
    Divergences sums = {0};
    for (Py_ssize_t i = 0; i < bins; i++)
        n += before[i], m += after[i];
    if (!(n > 0 && m > 0))
        return (Divergences){NAN, NAN, NAN, NAN, NAN};
    for (Py_ssize_t i = 0; i < bins; i++)
        if (before[i] > 0 || after[i] > 0) {
            p_total += fmax(before[i] / n, floor_of);
            q_total += fmax(after[i] / m, floor_of);
        }
    for (Py_ssize_t i = 0; i < bins; i++)
        if (before[i] > 0 || after[i] > 0) {
            double p = fmax(before[i] / n, floor_of) / p_total, q = fmax(after[i] / m, floor_of) / q_total;
            double middle = (p + q) / 2, ratio = log(q / p);
            sums.psi += (q - p) * ratio;
            sums.kl += q * ratio;
            sums.js += p * log2(p / middle) + q * log2(q / middle);
            sums.variation += fabs(q - p) / 2;
            alike += sqrt(p * q);
        }
    sums.kl = fmax(sums.kl, 0);
    sums.js = sqrt(fmax(sums.js / 2, 0));
    sums.hellinger = sqrt(fmax(1 - alike, 0));
    return sums;
}

/* How far PSI may be off where the share `moved` may lie on either side of the edge after its bin; the last bin, of
   nulls, has no edge. */
static double psi_off(const double *before, const double *after, const double *moved, Py_ssize_t bins, double floor_of) {
    double n = 0, m = 0, p_total = 0, q_total = 0, total = 0, slope = 0, bent = 0;
    for (Py_ssize_t i = 0; i < bins; i++)
        n += before[i], m += after[i];
    for (Py_ssize_t i = 0; i < bins; i++) {
        p_total += fmax(before[i] / n, floor_of);
        q_total += fmax(after[i] / m, floor_of);
    }
    for (Py_ssize_t i = 0; i + 1 < bins; i++) {
        double p = fmax(before[i] / n, floor_of) / p_total, q = fmax(after[i] / m, floor_of) / q_total;
        double here = 1 - log(p / q) - p / q, bends = (1 + p / q) / q;
        if (i) {
            double off = moved[i - 1] * (fabs(here - slope) + moved[i - 1] / 2 * (bends + bent));
            total += off * off;
        }
        slope = here;
        bent = bends;
    }
    return sqrt(total);
}

/* A view of one dimension, contiguous, of one of the formats (the machine's names of a type) and this many bytes. */
static int view_of(PyObject *object, Py_buffer *buffer, const char *formats, Py_ssize_t width, int writable,
                   const char *what) {
    if (PyObject_GetBuffer(object, buffer, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0)) < 0)
        return 0;
    if (buffer->ndim == 1 && buffer->itemsize == width && strchr(formats, buffer->format[0]) && !buffer->format[1])
        return 1;
    PyBuffer_Release(buffer);
    PyErr_Format(PyExc_ValueError, "expected a row of %s%d", what, (int)(8 * width));
    return 0;
}

static int view(PyObject *object, Py_buffer *buffer, Py_ssize_t width, int writable) {
    return view_of(object, buffer, "ilq", width, writable, "int");
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

static PyObject *distance(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_buffer held[4];
    PyObject *rows[4];
    Side one, two;
    long long first, after;
    double gap = 0, within = 0, area = 0;
    int ready = 0;
    if (!PyArg_ParseTuple(args, "(OOddd)(OOddd)LL", rows, rows + 1, &one.below, &one.size, &one.finite, rows + 2,
                          rows + 3, &two.below, &two.size, &two.finite, &first, &after))
        return NULL;
    while (ready < 4 && view(rows[ready], held + ready, sizeof(int64_t), 0))
        ready++;
    if (ready == 4) {
        one.ranks = held[0].buf, one.counts = held[1].buf, one.bins = held[0].shape[0];
        two.ranks = held[2].buf, two.counts = held[3].buf, two.bins = held[2].shape[0];
        static const int64_t none = 0; /* the walk looks at the first count of a side without bins */
        if (held[1].shape[0] == one.bins && held[3].shape[0] == two.bins) {
            one.counts = one.bins ? one.counts : &none;
            two.counts = two.bins ? two.counts : &none;
            Py_BEGIN_ALLOW_THREADS
            walk(one, two, first, after, &gap, &within, &area);
            Py_END_ALLOW_THREADS
        } else
            PyErr_SetString(PyExc_ValueError, "distance takes as many counts as ranks");
    }
    while (ready)
        PyBuffer_Release(held + --ready);
    return PyErr_Occurred() ? NULL : Py_BuildValue("(ddd)", gap, within, area);
}

static PyObject *tally(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_buffer bytes, counts;
    PyObject *column, *row;
    if (!PyArg_ParseTuple(args, "OO", &column, &row) || !view_of(column, &bytes, "B", sizeof(uint8_t), 0, "uint"))
        return NULL;
    if (view(row, &counts, sizeof(int64_t), 1)) {
        if (counts.shape[0] == 256) {
            Py_BEGIN_ALLOW_THREADS
            tally_bytes(bytes.buf, bytes.shape[0], counts.buf);
            Py_END_ALLOW_THREADS
        } else
            PyErr_SetString(PyExc_ValueError, "tally takes a row of 256 counts");
        PyBuffer_Release(&counts);
    }
    PyBuffer_Release(&bytes);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

/* Views of rows of floats; returns how many could be had. */
static int floats(PyObject **rows, Py_buffer *held, int wanted) {
    int ready = 0;
    while (ready < wanted && view_of(rows[ready], held + ready, "d", sizeof(double), 0, "float"))
        ready++;
    return ready;
}

static PyObject *divergences(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_buffer held[2];
    PyObject *rows[2];
    double floor_of;
    Divergences found = {0};
    if (!PyArg_ParseTuple(args, "OOd", rows, rows + 1, &floor_of))
        return NULL;
    int ready = floats(rows, held, 2);
    if (ready == 2 && held[0].shape[0] == held[1].shape[0])
        found = diverge(held[0].buf, held[1].buf, held[0].shape[0], floor_of);
    else if (ready == 2)
        PyErr_SetString(PyExc_ValueError, "divergences takes as many counts of either side");
    while (ready)
        PyBuffer_Release(held + --ready);
    if (PyErr_Occurred())
        return NULL;
    return Py_BuildValue("(ddddd)", found.psi, found.js, found.kl, found.hellinger, found.variation);
}

static PyObject *psi_error(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_buffer held[3];
    PyObject *rows[3];
    double floor_of, found = 0;
    if (!PyArg_ParseTuple(args, "OOOd", rows, rows + 1, rows + 2, &floor_of))
        return NULL;
    int ready = floats(rows, held, 3);
    if (ready == 3 && held[0].shape[0] == held[1].shape[0] && held[0].shape[0] == held[2].shape[0] + 2)
        found = psi_off(held[0].buf, held[1].buf, held[2].buf, held[0].shape[0], floor_of);
    else if (ready == 3)
        PyErr_SetString(PyExc_ValueError, "psi_error takes as many counts of either side, and two more than edges");
    while (ready)
        PyBuffer_Release(held + --ready);
    return PyErr_Occurred() ? NULL : PyFloat_FromDouble(found);
}

static PyMethodDef methods[] = {
    {"scan", scan, METH_VARARGS,
     "scan(values, centre, table, ranks, counts)"
     " -> (found, (nulls, pos_inf, neg_inf, total, squares, minimum, maximum, integral))"},
    {"distance", distance, METH_VARARGS,
     "distance((ranks, counts, below, size, finite), (… of the other side), first, after) -> (gap, within, area)"},
    {"tally", tally, METH_VARARGS, "tally(bytes, counts): adds to the 256 counts how often each byte occurs"},
    {"divergences", divergences, METH_VARARGS,
     "divergences(before, after, floor) -> (psi, js, kl, hellinger, total_variation)"},
    {"psi_error", psi_error, METH_VARARGS, "psi_error(before, after, moved, floor) -> how far PSI may be off"},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_compiled", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__compiled(void) { return PyModule_Create(&module); }
