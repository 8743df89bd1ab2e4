/* W1 as a CPython extension: five floats in, the price and a tuple of five gradients out. */
#include <Python.h>

static PyObject *value_and_grad(PyObject *self, PyObject *const *given, Py_ssize_t count) {
    double v[5], made[5];
    if (count != 5) {
        PyErr_SetString(PyExc_TypeError, "five floats");
        return NULL;
    }
    for (int k = 0; k < 5; k++)
        v[k] = PyFloat_AsDouble(given[k]);
    if (PyErr_Occurred())
        return NULL;
    const double goods = v[0] * v[1] + v[2] * v[3];
    made[0] = v[4] * v[1], made[1] = v[4] * v[0], made[2] = v[4] * v[3], made[3] = v[4] * v[2], made[4] = goods;
    PyObject *slopes = PyTuple_New(5);
    if (slopes == NULL)
        return NULL;
    for (int k = 0; k < 5; k++)
        PyTuple_SET_ITEM(slopes, k, PyFloat_FromDouble(made[k]));
    PyObject *out = PyTuple_New(2);
    PyTuple_SET_ITEM(out, 0, PyFloat_FromDouble(goods * v[4]));
    PyTuple_SET_ITEM(out, 1, slopes);
    return out;
}

static PyMethodDef methods[] = {{"value_and_grad", (PyCFunction)(void (*)(void))value_and_grad, METH_FASTCALL, NULL}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "w1_shopping", NULL, -1, methods};

PyMODINIT_FUNC PyInit_w1_shopping(void) {
    return PyModule_Create(&module);
}
