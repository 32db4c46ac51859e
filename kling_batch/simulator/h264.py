"""A tiny H.264 writer: pictures of flat 16 by 16 blocks, exactly kept, a few bytes each.

Every picture is a grid of cells and a cell is one macroblock of one colour. Of the standard
(ITU-T H.264) that needs only Intra 16x16 blocks whose single coefficient is the change of
colour from the block at the left or above, and skipped blocks where nothing changed. At these
quantisers one coefficient step is one step of colour, so nothing is lost, and no filter is on.
Profile: constrained baseline, which every browser plays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

CELL = 16
# A colour as Y, Cb, Cr.
Colour = tuple[int, int, int]
Grid = Sequence[Sequence[Colour]]

# frame_num has 4 bits: loops of 16 pictures can be repeated without writing them anew.
LOOP = 16
_START: Colour = (128, 128, 128)


@dataclass(slots=True)
class Bits:
    """Bits in writing, most significant first, as one growing string of 0 and 1."""

    parts: list[str] = field(default_factory=list)

    def u(self, value: int, width: int) -> None:
        self.parts.append(f"{value:0{width}b}")

    def ue(self, value: int) -> None:
        """Unsigned Exp-Golomb (9.1)."""
        text = f"{value + 1:b}"
        self.parts.append("0" * (len(text) - 1) + text)

    def se(self, value: int) -> None:
        """Signed Exp-Golomb (9.1.1)."""
        self.ue(2 * value - 1 if value > 0 else -2 * value)

    def text(self, bits: str) -> None:
        self.parts.append(bits)

    def unit(self, header: int) -> bytes:
        """The NAL unit: trailing bits, padding, and no start code inside (7.4.1)."""
        bits = "".join(self.parts) + "1"
        bits += "0" * (-len(bits) % 8)
        payload = int(bits, 2).to_bytes(len(bits) // 8, "big")
        return bytes([header]) + _escape(payload)


def _escape(payload: bytes) -> bytes:
    out = bytearray()
    zeros = 0
    for byte in payload:
        if zeros >= 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)


def sequence_parameters(columns: int, rows: int, cropped: int) -> bytes:
    """The SPS (7.3.2.1): so many macroblocks, with ``cropped`` luma lines off the bottom."""
    bits = Bits()
    bits.u(66, 8)  # baseline ...
    bits.u(0b11000000, 8)  # ... constrained
    bits.u(30, 8)  # level 3.0
    bits.ue(0)  # seq_parameter_set_id
    bits.ue(0)  # log2_max_frame_num_minus4
    bits.ue(2)  # pic_order_cnt_type: shown in the order of decoding
    bits.ue(1)  # max_num_ref_frames
    bits.u(0, 1)  # gaps_in_frame_num_value_allowed_flag
    bits.ue(columns - 1)
    bits.ue(rows - 1)
    bits.u(1, 1)  # frame_mbs_only_flag
    bits.u(1, 1)  # direct_8x8_inference_flag
    bits.u(1 if cropped else 0, 1)
    if cropped:
        for amount in (0, 0, 0, cropped // 2):
            bits.ue(amount)
    bits.u(0, 1)  # vui_parameters_present_flag
    return bits.unit(0x67)


def picture_parameters() -> bytes:
    """The PPS (7.3.2.2): CAVLC, and quantisers at which one step is one step of colour.

    Luma 28 has a level scale of 16 * 16, which the transform's shifts undo exactly; for the
    chroma DC transform the same holds at 22, hence the offset of -6 (8.5.10, 8.5.11).
    """
    bits = Bits()
    bits.ue(0)  # pic_parameter_set_id
    bits.ue(0)  # seq_parameter_set_id
    bits.u(0, 1)  # entropy_coding_mode_flag: CAVLC
    bits.u(0, 1)  # bottom_field_pic_order_in_frame_present_flag
    bits.ue(0)  # num_slice_groups_minus1
    bits.ue(0)  # num_ref_idx_l0_default_active_minus1
    bits.ue(0)  # num_ref_idx_l1_default_active_minus1
    bits.u(0, 1)  # weighted_pred_flag
    bits.u(0, 2)  # weighted_bipred_idc
    bits.se(28 - 26)  # pic_init_qp
    bits.se(0)  # pic_init_qs
    bits.se(-6)  # chroma_qp_index_offset
    bits.u(1, 1)  # deblocking_filter_control_present_flag
    bits.u(0, 1)  # constrained_intra_pred_flag
    bits.u(0, 1)  # redundant_pic_cnt_present_flag
    return bits.unit(0x68)


def key_picture(grid: Grid) -> bytes:
    """A picture on its own (IDR)."""
    bits = Bits()
    bits.ue(0)  # first_mb_in_slice
    bits.ue(7)  # slice_type: all I
    bits.ue(0)  # pic_parameter_set_id
    bits.u(0, 4)  # frame_num
    bits.ue(0)  # idr_pic_id
    bits.u(0, 2)  # no_output_of_prior_pics_flag, long_term_reference_flag
    bits.se(0)  # slice_qp_delta
    bits.ue(1)  # disable_deblocking_filter_idc
    for row in range(len(grid)):
        for column in range(len(grid[row])):
            _block(bits, grid, row, column, first_type=0)
    return bits.unit(0x65)


def next_picture(before: Grid, grid: Grid, number: int) -> bytes:
    """A picture of the blocks that changed since the one before; ``number`` counts from the key."""
    bits = Bits()
    bits.ue(0)  # first_mb_in_slice
    bits.ue(5)  # slice_type: all P
    bits.ue(0)  # pic_parameter_set_id
    bits.u(number % LOOP, 4)  # frame_num
    bits.u(0, 1)  # num_ref_idx_active_override_flag
    bits.u(0, 1)  # ref_pic_list_modification_flag_l0
    bits.u(0, 1)  # adaptive_ref_pic_marking_mode_flag
    bits.se(0)  # slice_qp_delta
    bits.ue(1)  # disable_deblocking_filter_idc
    skipped = 0
    for row, cells in enumerate(grid):
        for column, colour in enumerate(cells):
            if colour == before[row][column]:
                skipped += 1
                continue
            bits.ue(skipped)
            skipped = 0
            _block(bits, grid, row, column, first_type=5)
    if skipped:
        bits.ue(skipped)
    return bits.unit(0x41)


def _block(bits: Bits, grid: Grid, row: int, column: int, first_type: int) -> None:
    """One Intra 16x16 macroblock (7.3.5), predicted from the more alike of left and above."""
    colour = grid[row][column]
    left = grid[row][column - 1] if column else None
    above = grid[row - 1][column] if row else None
    # Prediction modes: luma 0 vertical, 1 horizontal, 2 mean; chroma 2, 1, 0 in that order.
    if left is not None and (above is None or _apart(left, colour) <= _apart(above, colour)):
        base, mode = left, 1
    elif above is not None:
        base, mode = above, 0
    else:
        base, mode = _START, 2
    luma, blue, red = (value - was for value, was in zip(colour, base, strict=True))
    with_chroma = 1 if blue or red else 0
    bits.ue(first_type + 1 + mode + 4 * with_chroma)  # mb_type
    bits.ue(2 - mode)  # intra_chroma_pred_mode
    bits.text("1")  # mb_qp_delta 0
    _coefficient(bits, luma, none="1", one="01", other="000101")
    if with_chroma:
        _coefficient(bits, blue, none="01", one="1", other="000111")
        _coefficient(bits, red, none="01", one="1", other="000111")


def _apart(one: Colour, other: Colour) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))


def _coefficient(bits: Bits, level: int, *, none: str, one: str, other: str) -> None:
    """A residual block of at most one coefficient, the first (9.2): token, sign or level, zeros."""
    if level == 0:
        bits.text(none)
    elif abs(level) == 1:
        bits.text(one + ("1" if level < 0 else "0") + "1")
    else:
        bits.text(other)
        _level(bits, 2 * abs(level) - (4 if level > 0 else 3))
        bits.text("1")  # total_zeros 0


def _level(bits: Bits, code: int) -> None:
    """A level's prefix and suffix with a suffix length of 0 (9.2.2.1)."""
    if code < 14:
        bits.text("0" * code + "1")
    elif code < 30:
        bits.text("0" * 14 + "1" + f"{code - 14:04b}")
    else:
        bits.text("0" * 15 + "1" + f"{code - 30:012b}")
