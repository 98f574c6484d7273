import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_latentimg.codec.errors import BlobError
from django_latentimg.codec.rangecoder import TOTAL, RangeDecoder, RangeEncoder


@st.composite
def coded(draw: st.DrawFn) -> list[tuple[list[int], int]]:
    """Distributions, each with the symbol to code."""
    tables = draw(
        st.lists(
            st.lists(st.integers(1, TOTAL - 1), min_size=1, max_size=70, unique=True),
            min_size=1,
            max_size=5,
        )
    )
    cumulative = [[0, *sorted(table), TOTAL] for table in tables]
    chosen = draw(st.lists(st.sampled_from(cumulative), max_size=200))
    return [(table, draw(st.integers(0, len(table) - 2))) for table in chosen]


def encode(symbols: list[tuple[list[int], int]]) -> bytes:
    encoder = RangeEncoder()
    for table, index in symbols:
        encoder.encode(table[index], table[index + 1] - table[index])
    return encoder.finish()


@given(coded())
def test_range_coder__gives_back_what_it_was_given(symbols):
    decoder = RangeDecoder(encode(symbols))
    assert [decoder.decode(table) for table, _ in symbols] == [index for _, index in symbols]
    decoder.finish()


@given(st.lists(st.integers(0, 4095), max_size=100))
def test_range_coder__bits(values):
    encoder = RangeEncoder()
    for value in values:
        encoder.encode_bits(value, 12)
    decoder = RangeDecoder(encoder.finish())
    assert [decoder.decode_bits(12) for _ in values] == values


@pytest.mark.parametrize("index", [0, 1])
def test_range_coder__carries_through_a_long_run(index):
    """The least and the most likely symbol, thousands of times: all carries, all ones."""
    table = [0, TOTAL - 1, TOTAL]
    symbols = [(table, index if n % 97 else 1 - index) for n in range(5000)]
    decoder = RangeDecoder(encode(symbols))
    assert [decoder.decode(t) for t, _ in symbols] == [i for _, i in symbols]


def test_range_coder__is_within_two_thousandths_of_the_entropy():
    table = [0, 20_000, 28_000, 31_000, 32_500, TOTAL]
    symbols = [(table, (n * 7919 % 1000 > 610) + (n * 104_729 % 1000 > 850)) for n in range(20_000)]
    ideal = sum(-math.log2((t[i + 1] - t[i]) / TOTAL) for t, i in symbols) / 8
    assert len(encode(symbols)) <= ideal * 1.002 + 4


@given(coded(), st.data())
def test_range_decoder__any_bytes_end_in_symbols_or_an_error(symbols, data):
    decoder = RangeDecoder(data.draw(st.binary(max_size=300)))
    try:
        for table, _ in symbols:
            assert 0 <= decoder.decode(table) <= len(table) - 2
        decoder.finish()
    except BlobError:
        pass


def test_range_decoder__notices_missing_and_spare_bytes():
    table = [0, 100, TOTAL]
    symbols = [(table, n % 2) for n in range(1000)]
    stored = encode(symbols)

    def decode(data: bytes) -> None:
        decoder = RangeDecoder(data)
        for t, _ in symbols:
            decoder.decode(t)
        decoder.finish()

    decode(stored)
    for damaged in (stored[: len(stored) // 2], stored + bytes(5)):
        with pytest.raises(BlobError):
            decode(damaged)
