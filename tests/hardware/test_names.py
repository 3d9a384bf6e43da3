"""Machines by name: what drivers print and what people type."""

import re
from collections import Counter
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakaru.errors import Misuse
from hakaru.hardware.described import parts_of
from hakaru.hardware.facts import known_bandwidth
from hakaru.hardware.lookup import find_rows, table
from hakaru.hardware.named_machine import parse_hardware
from hakaru.hardware.unified import APPLE_MIB, apple_share

MIB, GIB = 2**20, 2**30
STRIX_HALO = "AMD Ryzen AI Max+ 395 (Strix Halo, Radeon 8060S)"
R3090, R4090 = "NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 4090"

ONE_CARD = {
    # as NVIDIA's driver prints them
    "NVIDIA A100-SXM4-80GB": ("NVIDIA A100 80GB SXM", 80 * GIB),
    "NVIDIA A100-PCIE-40GB": ("NVIDIA A100 40GB PCIe", 40 * GIB),
    "NVIDIA A100 80GB PCIe": ("NVIDIA A100 80GB PCIe", 80 * GIB),
    "NVIDIA H100 80GB HBM3": ("NVIDIA H100 80GB SXM", 81559 * MIB),
    "NVIDIA H100 PCIe": ("NVIDIA H100 80GB PCIe", 81559 * MIB),
    "NVIDIA H100 NVL": ("NVIDIA H100 NVL 94GB", 95830 * MIB),
    "NVIDIA GH200 480GB": ("NVIDIA GH200 96GB", 97871 * MIB),
    "NVIDIA B300 SXM6 AC": ("NVIDIA B300 288GB SXM", 275040 * MIB),
    "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition":
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q", 97887 * MIB),
    "NVIDIA RTX PRO 6000 Blackwell Workstation Edition": ("NVIDIA RTX PRO 6000 Blackwell",
        97887 * MIB),
    "NVIDIA RTX PRO 6000 Blackwell Server Edition": ("NVIDIA RTX PRO 6000 Blackwell Server Edition",
        97887 * MIB),
    "NVIDIA RTX 6000 Ada Generation": ("NVIDIA RTX 6000 Ada Generation", 49140 * MIB),
    "NVIDIA RTX 5000 Ada Generation Laptop GPU": ("NVIDIA RTX 5000 Ada Generation Laptop GPU",
        16 * GIB),
    "Tesla V100-SXM2-16GB": ("NVIDIA Tesla V100 SXM2 16 GB", 16160 * MIB),
    "Tesla V100-PCIE-32GB": ("NVIDIA Tesla V100 PCIe 32 GB", 32 * GIB),
    "NVIDIA GeForce RTX 4070 Ti SUPER": ("NVIDIA GeForce RTX 4070 Ti SUPER", 16376 * MIB),
    "NVIDIA GeForce RTX 3050 6GB Laptop GPU": ("NVIDIA GeForce RTX 3050 6GB Laptop GPU", 6 * GIB),
    "NVIDIA GeForce RTX 2080 with Max-Q Design": ("NVIDIA GeForce RTX 2080 Laptop GPU", 8 * GIB),
    "Quadro RTX 8000": ("NVIDIA Quadro RTX 8000", 48592 * MIB),
    "NVIDIA TITAN RTX": ("NVIDIA TITAN RTX", 24220 * MIB),
    # as others print them
    "Intel(R) Arc(TM) B580 Graphics": ("Intel Arc B580", 12 * GIB),
    "AMD Radeon RX 7900 XTX": ("AMD Radeon RX 7900 XTX", 24 * GIB),
    "VGA compatible controller: NVIDIA Corporation AD102 [GeForce RTX 4090] (rev a1)": (R4090,
        24564 * MIB),
    # as people type them
    "rtx4090": (R4090, 24564 * MIB),
    "ＲＴＸ４０９０": (R4090, 24564 * MIB),
    "RTX 4090 24GB VRAM": (R4090, 24564 * MIB),
    "3090s": (R3090, 24 * GIB),
    "GTX 1080Ti": ("NVIDIA GeForce GTX 1080 Ti", 11 * GIB),
    "rtx4070tisuper": ("NVIDIA GeForce RTX 4070 Ti SUPER", 16376 * MIB),
    "7900xtx": ("AMD Radeon RX 7900 XTX", 24 * GIB),
    "RX 6800XT": ("AMD Radeon RX 6800 XT", 16 * GIB),
    "A6000": ("NVIDIA RTX A6000", 49140 * MIB),
    "L40S": ("NVIDIA L40S", 46068 * MIB),
    "MI 50": ("AMD Instinct MI50 16GB", 16 * GIB),
    "RTX 5090 Laptop": ("NVIDIA GeForce RTX 5090 Laptop GPU", 24463 * MIB),
    "4090m": ("NVIDIA GeForce RTX 4090 Laptop GPU", 16376 * MIB),
    "RTX 4090 16GB": ("NVIDIA GeForce RTX 4090 Laptop GPU", 16376 * MIB),
    "RTX 3060, 12GB": ("NVIDIA GeForce RTX 3060 12 GB", 12 * GIB),
    # rows that were missing
    "MI50 32GB": ("AMD Instinct MI50 32GB", 32 * GIB),
    "RTX 4090 48GB": ("NVIDIA GeForce RTX 4090 48 GB (rebuilt)", 49140 * MIB),
    "3080 20GB": ("NVIDIA GeForce RTX 3080 20 GB (rebuilt)", 20 * GIB),
    "2080 Ti 22GB": ("NVIDIA GeForce RTX 2080 Ti 22 GB (rebuilt)", 22 * GIB),
    "Quadro RTX 6000": ("NVIDIA Quadro RTX 6000", 24220 * MIB),
    "Tesla M40 24GB": ("NVIDIA Tesla M40 24 GB", 22945 * MIB),
    "Radeon VII": ("AMD Radeon VII", 16 * GIB),
    "RX 580": ("AMD Radeon RX 580", 8 * GIB),
    "Arc A770 8GB": ("Intel Arc A770 8 GB", 8 * GIB),
    # unified memory: what may be used of it
    "DGX Spark": ("NVIDIA GB10 (DGX Spark)", 117453 * MIB),
    "Jetson Orin Nano 8GB": ("NVIDIA Jetson Orin Nano 8 GB", 7619 * MIB),
    "Jetson AGX Orin 64GB": ("NVIDIA Jetson AGX Orin 64 GB", 62827 * MIB),
    "Jetson Thor": ("NVIDIA Jetson AGX Thor (T5000)", 125748 * MIB),
    "Ryzen AI Max+ 395": (STRIX_HALO, 64 * GIB),
    "Ryzen AI Max + 395": (STRIX_HALO, 64 * GIB),
    "Ryzen AI Max 395 128GB": (STRIX_HALO, 64 * GIB),
    "AMD RYZEN AI MAX+ PRO 395 w/ Radeon 8060S": (STRIX_HALO, 64 * GIB),
    "AI Max PRO+ 395": (STRIX_HALO, 64 * GIB),
    "AI Max+ PRO 395 64GB": (f"{STRIX_HALO} 64GB", 32 * GIB),
    "Ryzen AI Max+ 395 + 128GB": (STRIX_HALO, 64 * GIB),
    "Ryzen AI Max+ 395 128GB (96GB VRAM)": (STRIX_HALO, 96 * GIB),
    "Framework Desktop 128GB": (STRIX_HALO, 64 * GIB),
    "Ryzen AI 9 HX 370 32GB": ("AMD Radeon 890M (Strix Point) 32GB", 16 * GIB),
    "Core Ultra 7 258V 32GB": ("Intel Arc 140V (Lunar Lake) 32GB", 16 * GIB),
    "M4 Max 64GB": ("Apple M4 Max 64GB", 53084 * MIB),
    "M4 Max+64GB": ("Apple M4 Max 64GB", 53084 * MIB),
    "mac studio m3 ultra 512gb": ("Apple M3 Ultra 512GB", 475136 * MIB),
    'MacBook Pro 16" M3 Max 40-core GPU 128GB': ("Apple M3 Max 128GB", 110100 * MIB),
    "Mac mini M4 16GB": ("Apple M4 16GB", 12123 * MIB),
    "Apple M2 Max 8P+4E+38GPU 64GB": ("Apple M2 Max 64GB", 53084 * MIB),  # as LocalScore writes it
    "Apple M1 7c GPU 16GB": ("Apple M1 16GB", 12123 * MIB),
    # brackets that hold the card, or only where it is built in
    "Intel 13900K (Nvidia 4090)": (R4090, 24564 * MIB),
    "AMD Ryzen AI Max+ 395 (Strix Halo, GMKtec EVO-X2) 120W": (STRIX_HALO, 64 * GIB),
    "Pi 500+ - 16GB (AMD RX 7900 XT)": ("AMD Radeon RX 7900 XT", 20 * GIB),
    "Intel Arc Pro B50 (Pi 500+)": ("Intel Arc Pro B50", 16 * GIB),
    # names within longer ones
    "HP Z2 Mini G1a Ryzen AI Max+ PRO 395 128GB": (STRIX_HALO, 64 * GIB),
    "EVGA RTX 3090 FTW3": (R3090, 24 * GIB),
    "Sapphire Nitro+ RX 7900 XTX": ("AMD Radeon RX 7900 XTX", 24 * GIB),
    "RX 7900 XTX Nitro+": ("AMD Radeon RX 7900 XTX", 24 * GIB),
    "Lenovo Legion RTX 4060 Laptop 8GB": ("NVIDIA GeForce RTX 4060 Laptop GPU", 8188 * MIB),
    "NVIDIA Jetson AGX Orin Developer Kit": ("NVIDIA Jetson AGX Orin 64 GB", 62827 * MIB),
    "Ryzen AI Max+ 395 96GB VRAM": (STRIX_HALO, 96 * GIB),
    # names that look like others
    "NVIDIA RTX A1000 6GB Laptop GPU": ("NVIDIA RTX A1000 6GB Laptop GPU", 6 * GIB),
    "NVIDIA RTX 1000 Ada Generation Laptop GPU": ("NVIDIA RTX 1000 Ada Generation Laptop GPU",
        6141 * MIB),
    "NVIDIA GeForce GTX 1650 Ti with Max-Q Design": ("NVIDIA GeForce GTX 1650 Ti Laptop GPU",
        4 * GIB),
}  # fmt: skip
"""What is typed: the one accelerator that is meant, and the bytes that it has for models and their
driver.
"""

SEVERAL = {
    "3090 x2": ([R3090] * 2, None),
    "dual RTX 3090": ([R3090] * 2, None),
    "4x3090": ([R3090] * 4, None),
    "2 RTX 3090": ([R3090] * 2, None),
    "RTX 3090 (x2)": ([R3090] * 2, None),
    "two 3090s": ([R3090] * 2, None),
    "L4 x2": (["NVIDIA L4"] * 2, None),
    "L4x2": (["NVIDIA L4"] * 2, None),
    "2xL4": (["NVIDIA L4"] * 2, None),
    "L4 ×2": (["NVIDIA L4"] * 2, None),
    "2 × L4": (["NVIDIA L4"] * 2, None),
    "２ｘＬ４": (["NVIDIA L4"] * 2, None),
    "Ｌ４　×２": (["NVIDIA L4"] * 2, None),
    "x2 L4": (["NVIDIA L4"] * 2, None),
    "L40Sx2": (["NVIDIA L40S"] * 2, None),
    "RTX 3090 2枚": ([R3090] * 2, None),
    "2枚のRTX 3090": ([R3090] * 2, None),
    "2枚 RTX 3090": ([R3090] * 2, None),
    "RTX3090を二枚": ([R3090] * 2, None),
    "RTX 3090 ×2 ＋ 64GB": ([R3090] * 2, 64 * 10**9),
    "2x Ryzen AI Max+ 395": ([STRIX_HALO] * 2, None),
    "Ryzen AI Max+ 395 + RTX 4090": ([STRIX_HALO, R4090], None),
    "RTX 4090 + 64GiB": ([R4090], 64 * GIB),
    "RTX 4090+64GB": ([R4090], 64 * 10**9),
    "RTX 4090 64GB RAM": ([R4090], 64 * 10**9),
    "RTX 4090 with 64GB DDR5": ([R4090], 64 * 10**9),
    "RTX 4090 & RTX 3090": ([R4090, R3090], None),
    "RTX 4090 and 2x32GB DDR5-6000": ([R4090], 64 * 10**9),
    "RTX 4090, 128GB": ([R4090], 128 * 10**9),
    "RTX 4090 x2 + RTX 3060 12GB + 128GB ECC DDR5-6000 RDIMM":
        ([R4090] * 2 + ["NVIDIA GeForce RTX 3060 12 GB"], 128 * 10**9),
    "RTX 4090とメモリ64GB": ([R4090], 64 * 10**9),
    "RTX 4090、RTX 3090": ([R4090, R3090], None),
    "Core i9-14900K + RTX 4090 + 64GB": ([R4090], 64 * 10**9),
    "Ryzen 9 7950X + 64GB": ([], 64 * 10**9),
    "32GB DDR4": ([], 32 * 10**9),
    "Pi 500+ - 16GB": ([], 16 * 10**9),
    "Intel N100 (16GB)": ([], 16 * 10**9),
    "メモリ 64GB": ([], 64 * 10**9),
    "12GB VRAM": (["12GB"], None),
    "12GB VRAM + 32GB": (["12GB"], 32 * 10**9),
    "24GB GPU": (["24GB"], None),
    "2x 12.345678GiB": (["12.345678GiB"] * 2, None),
    "12345678MiB": (["12345678MiB"], None),
}  # fmt: skip


@pytest.mark.parametrize(("text", "meant"), ONE_CARD.items())
def test_a_name_finds_its_row(text: str, meant: tuple[str, int]) -> None:
    """One accelerator, with what a process can have of its memory."""
    (device,) = parse_hardware(text).accelerators
    assert (device.name, device.usable_bytes) == meant


@pytest.mark.parametrize(("text", "meant"), SEVERAL.items())
def test_counts_and_borders_are_read(text: str, meant: tuple[list[str], int | None]) -> None:
    """A plus inside a name is no border, and a size beside a card is RAM."""
    found = parse_hardware(text)
    assert (
        [d.name for d in found.accelerators],
        found.ram.total_bytes if found.ram else None,
    ) == meant


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("RTX 3060", "RTX 3060: taken as the one with 12 GB; write 'RTX 3060 8GB' for the other."),
        ("V100", "Tesla V100 PCIe|V100 PCIe: taken as the one with 16 GB"),
        ("Radeon RX 7900 XT/7900 XTX", "taken as the smallest, AMD Radeon RX 7900 XT."),
        ("Ryzen AI Max+ 395", "taken with 128 GB, its largest memory"),
        ("Strix Halo 128GB", "a model may take 64.0 GiB of its 128 GB .half of the RAM by default"),
        ("M2 Max 96GB", "interpolated"),
        ("Orin NX 16GB", "interpolated"),
        (
            "2x Ryzen AI Max+ 395 128GB",
            "as many machines, which llama.cpp joins only over a network",
        ),
        (
            "M4 Max 64GB + DGX Spark",
            "Apple M4 Max 64GB . NVIDIA GB10 .DGX Spark.: chips with a memory of their own",
        ),
        ("A100 80GB MIG 3g.40gb", "a slice of 40 GB, of which about 95% can be used .assumed."),
    ],
)
def test_what_was_taken_for_granted_is_said(text: str, words: str) -> None:
    """Of several sizes the usual one, of a shared memory a part, and both in a sentence."""
    with_notes = parse_hardware(text)

    assert re.search(words, "\n".join(with_notes.notes)), with_notes.notes


@pytest.mark.parametrize("text", ["RTX 3060 12GB", "RTX 4090", "L4", "24GiB"])
def test_a_name_that_says_all_needs_no_sentence(text: str) -> None:
    """Also where rebuilt cards of that name have more."""
    assert parse_hardware(text).notes == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("RTX 4095", "the nearest names are .*RTX 4090"),
        (
            "RTX 3090 48GB",
            "is known with 24 GB, not with 48 GB; name the memory alone, such as 48GiB",
        ),
        ("M4 Max", "is sold with memories of several sizes"),
        ("RTX 6000", "may be NVIDIA Quadro RTX 6000, NVIDIA RTX 6000 Ada Generation"),
        ("RTX 4090 + 16384", "'16384' has no unit"),
        ("64", "'64' has no unit"),
        ("iphone", "no accelerator 'iphone'"),
        ("Max-Q Design", "no accelerator"),
        ("RTX A3500 Laptop", "no accelerator"),
        ("RTX A4000 Laptop", "no accelerator"),  # half of the card's memory
        ("RTX 4090 Ti", "no accelerator"),
        ("Apple M4 Ultra 512GB", "no accelerator"),
        ("Ryzen 7 5700", "no accelerator"),  # not the card of that number
        ("NVIDIA A40-12Q", "no accelerator"),  # a quarter of one
        ("RTX 4090 +", "expected such as"),
        ("100x H100", "at most 16 accelerators"),  # was read as one
        ("H100 x128 + 64GB", "at most 16 accelerators"),
        ("H100 128枚", "at most 16 accelerators"),  # was read as 28
        ("17x L4", "at most 16 accelerators"),
        ("-1x L4", "expected such as"),
        ("RTX 4090 + -64GB", "expected such as"),
    ],
)
def test_a_name_that_nobody_knows_is_refused_with_what_to_type(text: str, words: str) -> None:
    """Exit code 2, and a next step."""
    with pytest.raises(Misuse, match=words) as caught:
        parse_hardware(text)
    assert caught.value.exit_code == 2


def test_every_row_is_found_by_its_own_names() -> None:
    """Under its name and each alias, alone or as the usual one of several sizes."""
    for row in table():
        for name in (row["name"], *row.get("aliases", ())):
            ids = [found["id"] for found in find_rows(name).rows]
            assert row["id"] in ids, (name, ids)


def test_of_one_name_with_several_sizes_one_is_usual() -> None:
    """So that a name without its size is never refused for its size alone."""
    assert len({row["id"] for row in table()}) == len(table())
    for row in table():
        rows = [
            r
            for r in find_rows(row["name"].replace(f"{row['memory_gib'] or 0:g} GB", "")).rows
            if not r.get("rebuilt")
        ]
        if len({r["memory_gib"] for r in rows}) > 1:
            assert len({r["memory_gib"] for r in rows if r.get("usual")}) == 1, [
                r["name"] for r in rows
            ]


def test_drivers_never_report_more_than_is_soldered() -> None:
    """Figures of the table in the units that they claim."""
    text = (files("hakaru.hardware") / "accelerators.json").read_text(encoding="utf-8")
    assert (
        Counter(text)["\n"] == len(table()) + 2
    )  # one row a line, so that a change is one line of a diff
    for row in table():
        if "reported_mib" in row:
            assert 0.9 <= row["reported_mib"] / 1024 / row["memory_gib"] <= 1.0, row["name"]


def test_bandwidth_of_a_card_is_known_by_its_memory() -> None:
    """Where several cards share a name, the one with that memory."""
    assert known_bandwidth("NVIDIA GeForce RTX 3060", 8 * GIB) == 240.0
    assert known_bandwidth("NVIDIA GeForce RTX 3060", 12 * GIB) == 360.0
    assert known_bandwidth("NVIDIA A100-SXM4-80GB") == 2039.0
    assert known_bandwidth("a card of tomorrow") is None


def test_apple_s_share_grows_with_the_memory() -> None:
    """Seen figures as they were seen; between them never more than the next larger size has."""
    assert [apple_share(size) for size in (16, 512)] == [(12123 * MIB, True), (475136 * MIB, True)]
    share, seen = apple_share(192)
    assert not seen
    assert APPLE_MIB[128] * MIB < share < APPLE_MIB[256] * MIB
    assert apple_share(4)[0] < APPLE_MIB[8] * MIB


def test_parts_keep_their_sizes() -> None:
    """RAM behind a name without a sign is a part of its own, and brackets hold no borders."""
    assert [(p.kind, p.count) for p in parts_of("RTX 4090 (24GB, used) 2x32GB DDR5", ())] == [
        ("name", 1),
        ("ram", 2),
    ]
    assert [p.text for p in parts_of("Max+ 395 + Max+ 395", ["Max+ 395"])] == [
        "Max+ 395",
        "Max+ 395",
    ]


@given(
    st.text(alphabet="0123456789xX*+&,()[]/ .-GBMTiRAMvTi枚とメモリ×\n\0", max_size=40)
    | st.text(max_size=40)
)
def test_whatever_is_typed_is_a_machine_or_refused_in_a_sentence(text: str) -> None:
    """Never another error, and never a machine without anything."""
    try:
        found = parse_hardware(text)
    except Misuse:
        return
    assert found.accelerators or found.ram
    assert all(device.total_bytes > 0 for device in found.accelerators)


@pytest.mark.parametrize(
    ("name", "gb_s", "fp16", "fp32"),
    [
        ("RTX 4090", 1008, 330.3, 82.6),
        ("H100 SXM", 3350, 989, 66.9),
        ("GTX 1080 Ti", 484, 0.18, 11.3),
        ("RX 7900 XTX", 960, 122.8, 30.7),
        ("M2 Max 32GB", 400, 13.6, 13.6),
        ("M2 Max 30-core GPU 32GB", 400, 13.6 * 30 / 38, 13.6 * 30 / 38),
        ("M2 Max (30c GPU) 32GB", 400, 13.6 * 30 / 38, 13.6 * 30 / 38),
        ("M3 Max 30-core GPU 36GB", 300, 10.6, 10.6),
        ("M5 Max 128GB", 614, 66.4, 16.6),
        ("Jetson AGX Orin 64GB", 204.8, 42.6, 5.3),
    ],
)
def test_what_decides_the_speed_is_known(name: str, gb_s: float, fp16: float, fp32: float) -> None:
    """Bandwidth and rates, as makers publish them or as they follow from units and clocks. Fewer
    GPU cores of an Apple chip have their part.
    """
    (device,) = parse_hardware(name).accelerators
    assert device.bandwidth_gb_s == pytest.approx(gb_s, rel=0.01)
    assert device.rates
    assert device.rates.fp16_tflops == pytest.approx(fp16, rel=0.01)
    assert device.rates.fp32_tflops == pytest.approx(fp32, rel=0.01)


def test_a_slice_has_no_speed_of_its_own() -> None:
    """A MIG slice has a part of the card's bandwidth, which nobody publishes."""
    (device,) = parse_hardware("A100 80GB MIG 3g.40gb").accelerators
    assert (device.bandwidth_gb_s, device.rates) == (None, None)
