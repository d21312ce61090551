"""One step of a network: flattened, ordered, and computed."""

from elman.stepping.flat import Flat, Memory, Value, Writer
from elman.stepping.order import Loop, Order, Products, Single, order_of

__all__ = ["Flat", "Loop", "Memory", "Order", "Products", "Single", "Value", "Writer", "order_of"]
