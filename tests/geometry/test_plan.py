"""How products are counted."""

import threading

import torch

from pullback.geometry import JacobianAt, Products
from pullback.geometry.plan import counted_products


def product():
    JacobianAt(lambda x: x**2, torch.ones(1, 3)).vjp(torch.ones(1, 1, 3))


def test_products_of_every_thread_are_counted_and_none_after_the_scope():
    with counted_products() as outer:
        product()
        with counted_products() as inner:
            thread = threading.Thread(target=product)
            thread.start()
            thread.join()
    product()
    assert outer.products == Products(vjp=2)
    assert inner.products == Products(vjp=1)


def test_a_scope_that_was_left_by_an_error_is_closed():
    try:
        with counted_products() as tally:
            raise KeyError
    except KeyError:
        product()
    assert tally.products == Products()
