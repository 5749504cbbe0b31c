import pytest
from penstock.errors import InvalidArgumentError
from penstock.util.sizes import format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GiB", 4 << 30),
        (" 4 gib ", 4 << 30),
        ("3.5GiB", 7 << 29),
        ("500MB", 500_000_000),
        ("1TiB", 1 << 40),
        ("12", 12),
        (12, 12),
        ("0", 0),
        ("", 0),
        (None, 0),
        ("1152921504606846975", (1 << 60) - 1),
    ],
)
def test_sizes_are_read_exactly(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        *(
            "4G",
            "GiB",
            "-1GiB",
            "4 GiB GiB",
            "1e9",
            "nan",
            "0x10",
            "4,5GiB",
            "1.5",
            "٤GiB",
            "4GiBs",
        ),
        *(-1, 1.5, True, 1 << 61, "99999999TiB", "9" * 400, b"4GiB", [4]),
    ],
)
def test_what_is_no_size_is_refused_by_name(text):
    with pytest.raises(InvalidArgumentError, match="host_memory") as caught:
        parse_size(text, "host_memory")
    assert caught.value.field == "host_memory"


def test_a_bare_letter_gets_a_hint():
    with pytest.raises(InvalidArgumentError, match="write 4GiB or 4GB"):
        parse_size("4g")


def test_sizes_for_people():
    assert [format_size(s) for s in (17, 1536, 3 << 29, 5 << 40)] == [
        *("17 B", "1.5 KiB", "1.5 GiB", "5.0 TiB")
    ]
