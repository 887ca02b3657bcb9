"""Vectors of the numbers of one tile, for numba: `Lanes` of float64 or float32, and `Mask`.

numba's loops over arrays become vector code only where the compiler can prove that no two of them
overlap, which it seldom can. These types are the vectors of LLVM itself: arithmetic and comparison
with each other and with scalars, `load` and `store` of a row of a tile, and the functions below.
Products may be contracted into sums; the order of operations is kept.
"""

from __future__ import annotations

import operator

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.extending import intrinsic, lower_builtin, register_model, type_callable

N_LANE = 16
FLAGS = ("contract",)
ELEMENTS = {types.float64: ir.DoubleType(), types.float32: ir.FloatType()}


class Lanes(types.Type):
    """The numbers of one row of a tile."""

    def __init__(self, dtype):
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype})")


class Mask(types.Type):
    """One truth value for each number of a row."""

    def __init__(self):
        super().__init__(name="Mask")


MASK = Mask()


def _vector(dtype):
    return ir.VectorType(ELEMENTS[dtype], N_LANE)


@register_model(Lanes)
class LanesModel(models.PrimitiveModel):
    """Lanes in a register."""

    def __init__(self, manager, numba_type):
        super().__init__(manager, numba_type, _vector(numba_type.dtype))


@register_model(Mask)
class MaskModel(models.PrimitiveModel):
    """A mask in a register."""

    def __init__(self, manager, numba_type):
        super().__init__(manager, numba_type, ir.VectorType(ir.IntType(1), N_LANE))


def _dtype(*arguments):
    """Return the element type of an operation of lanes, None if no lanes are among them."""
    for argument in arguments:
        if isinstance(argument, Lanes):
            return argument.dtype
    return None


def _spread(context, builder, value, given, dtype):
    """Return an argument as a vector: a scalar in all lanes."""
    if isinstance(given, Lanes):
        return value
    value = context.cast(builder, value, given, dtype)
    vector = _vector(dtype)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
    places = ir.Constant(ir.VectorType(ir.IntType(32), N_LANE), [0] * N_LANE)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), places)


def _spread_all(context, builder, signature, arguments):
    dtype = _dtype(*signature.args)
    return [_spread(context, builder, v, t, dtype) for v, t in zip(arguments, signature.args)]


def _both(function, result, generate):
    """Define an operator for lanes with lanes and with scalars on either side."""

    @type_callable(function)
    def _typer(context):
        def typer(a, b):
            dtype = _dtype(a, b)
            numbers = all(isinstance(x, Lanes | types.Number) for x in (a, b))
            return result(dtype) if dtype is not None and numbers else None

        return typer

    def implement(context, builder, signature, arguments):
        return generate(builder, *_spread_all(context, builder, signature, arguments))

    for pair in ((Lanes, Lanes), (Lanes, types.Number), (types.Number, Lanes)):
        lower_builtin(function, *pair)(implement)


def _define_operators():
    for function, name in (
        (operator.add, "fadd"),
        (operator.sub, "fsub"),
        (operator.mul, "fmul"),
        (operator.truediv, "fdiv"),
    ):
        _both(function, Lanes, lambda builder, a, b, n=name: getattr(builder, n)(a, b, flags=FLAGS))
    for function, sign in (
        (operator.lt, "<"),
        (operator.le, "<="),
        (operator.gt, ">"),
        (operator.ge, ">="),
    ):
        _both(
            function,
            lambda dtype: MASK,
            lambda builder, a, b, s=sign: builder.fcmp_ordered(s, a, b),
        )


_define_operators()


@type_callable(operator.and_)
def _and_typer(context):
    return lambda a, b: MASK if isinstance(a, Mask) and isinstance(b, Mask) else None


@lower_builtin(operator.and_, Mask, Mask)
def _and(context, builder, signature, arguments):
    return builder.and_(*arguments)


@type_callable(operator.invert)
def _invert_typer(context):
    return lambda a: MASK if isinstance(a, Mask) else None


@lower_builtin(operator.invert, Mask)
def _invert(context, builder, signature, arguments):
    return builder.not_(arguments[0])


def _address(context, builder, array_type, array, index):
    """Return the address of a row of an array of one dimension."""
    data = context.make_array(array_type)(context, builder, array).data
    first = builder.gep(data, [index])
    return builder.bitcast(first, _vector(array_type.dtype).as_pointer())


def _alignment(dtype):
    return 8 if dtype == types.float64 else 4


@intrinsic
def load(context, array, index):
    """Return the row of a tile that begins at a place of an array."""

    def generate(context, builder, signature, arguments):
        row = builder.load(_address(context, builder, signature.args[0], *arguments))
        row.align = _alignment(array.dtype)
        return row

    return Lanes(array.dtype)(array, index), generate


@intrinsic
def store(context, array, index, lanes):
    """Write a row of a tile to a place of an array."""

    def generate(context, builder, signature, arguments):
        address = _address(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], address, align=_alignment(array.dtype))
        return context.get_dummy_value()

    return types.void(array, index, lanes), generate


@intrinsic
def select(context, mask, a, b):
    """Return `a` where the mask is true, else `b`; one of them may be a scalar."""
    dtype = _dtype(a, b)

    def generate(context, builder, signature, arguments):
        pair = zip(arguments[1:], signature.args[1:])
        return builder.select(
            arguments[0], *(_spread(context, builder, v, t, dtype) for v, t in pair)
        )

    return Lanes(dtype)(mask, a, b), generate


@intrinsic
def lanes_of(context, value):
    """Return a scalar in all lanes."""

    def generate(context, builder, signature, arguments):
        return _spread(context, builder, arguments[0], value, value)

    return Lanes(value)(value), generate


def _bits(builder, mask):
    return builder.bitcast(mask, ir.IntType(N_LANE))


@intrinsic
def any_of(context, mask):
    """Tell whether the mask is true anywhere."""

    def generate(context, builder, signature, arguments):
        bits = _bits(builder, arguments[0])
        return builder.icmp_unsigned("!=", bits, bits.type(0))

    return types.boolean(mask), generate


@intrinsic
def bits_of(context, mask):
    """Return the mask as the lowest bits of a number."""

    def generate(context, builder, signature, arguments):
        return builder.zext(_bits(builder, arguments[0]), ir.IntType(64))

    return types.uint64(mask), generate


@intrinsic
def lowest_bit(context, bits):
    """Return the place of the lowest bit that is set; there must be one."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.uint64(types.uint64), generate


@intrinsic
def count_of(context, mask):
    """Return in how many lanes the mask is true."""

    def generate(context, builder, signature, arguments):
        return builder.zext(builder.ctpop(_bits(builder, arguments[0])), ir.IntType(64))

    return types.int64(mask), generate


def _call(builder, name, result, *arguments):
    """Call a function of LLVM on vectors."""
    kind = ir.FunctionType(result, [a.type for a in arguments])
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(function, arguments, fastmath=("reassoc",))


@intrinsic
def larger(context, a, b):
    """Return the larger of two in each lane, `b` where one is NaN; one may be a scalar."""
    return Lanes(_dtype(a, b))(a, b), _choose(">")


@intrinsic
def smaller(context, a, b):
    """Return the smaller of two in each lane, `b` where one is NaN; one may be a scalar."""
    return Lanes(_dtype(a, b))(a, b), _choose("<")


def _choose(sign):
    def generate(context, builder, signature, arguments):
        a, b = _spread_all(context, builder, signature, arguments)
        return builder.select(builder.fcmp_ordered(sign, a, b), a, b)

    return generate


@intrinsic
def sum_of(context, lanes):
    """Return the sum of all lanes."""

    def generate(context, builder, signature, arguments):
        element = ELEMENTS[lanes.dtype]
        name = f"llvm.vector.reduce.fadd.v{N_LANE}{_suffix(lanes.dtype)}"
        return _call(builder, name, element, element(0.0), arguments[0])

    return lanes.dtype(lanes), generate


def _suffix(dtype):
    return "f64" if dtype == types.float64 else "f32"


@intrinsic
def magnitude(context, lanes):
    """Return absolute values."""

    def generate(context, builder, signature, arguments):
        name = f"llvm.fabs.v{N_LANE}{_suffix(lanes.dtype)}"
        return _call(builder, name, arguments[0].type, arguments[0])

    return lanes(lanes), generate


@intrinsic
def lower_integer(context, lanes):
    """Return the largest integers that are not larger."""

    def generate(context, builder, signature, arguments):
        name = f"llvm.floor.v{N_LANE}{_suffix(lanes.dtype)}"
        return _call(builder, name, arguments[0].type, arguments[0])

    return lanes(lanes), generate


@intrinsic
def power_of_two(context, lanes):
    """Return 2^m of integers m from -1022 to 1023 in lanes of float64."""

    def generate(context, builder, signature, arguments):
        whole = ir.VectorType(ir.IntType(64), N_LANE)
        exponent = builder.fptosi(arguments[0], whole)
        biased = builder.add(exponent, ir.Constant(whole, [1023] * N_LANE))
        bits = builder.shl(biased, ir.Constant(whole, [52] * N_LANE))
        return builder.bitcast(bits, arguments[0].type)

    return lanes(lanes), generate


def zeros(n, dtype=np.float64):
    """Return an array of zeros whose rows of tiles each lie in whole cache lines."""
    line = 64
    size = np.dtype(dtype).itemsize
    space = np.zeros(n + line // size, dtype)
    first = -space.ctypes.data % line // size
    return space[first : first + n]


def rows_of_lanes(table):
    """Return a table in float32, each row padded with zeros to whole lanes, in one dimension."""
    n_row, n_column = np.shape(table)
    length = -(-n_column // N_LANE) * N_LANE
    flat = zeros(n_row * length, np.float32)
    flat.reshape(n_row, length)[:, :n_column] = table
    return flat
