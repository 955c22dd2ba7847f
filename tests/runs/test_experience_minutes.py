"""Minutes of experience: rows that hold what was lived, whatever the blocks; figures that follow from the rows."""

import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pytest

from twinloop.qoe import IMPACTS, RULES, UserModels
from twinloop.runs.results import directory as files
from twinloop.runs.results.agreements import agreement_ratios, ela_figures, flat_figures, qoe_figures
from twinloop.runs.results.experience import Followed, Minutes
from twinloop.runs.results.recording import Block
from twinloop.simulator import Raters

USERS, SLOTS = 6, 480
NAMES = ["basic", "gold", "nobody"]
SLICE = np.array([0, 0, 0, 1, 1, 1])
RULE = np.array([0, 1, 2, 0, 1, 2])
KAPPA = np.array([0.0, 0.1, 0.2, 0.1, 0.0, 0.05], np.float32)
AGREED = np.array([3.0, 3.2, 2.0, 4.9, 4.6, 4.4], np.float32)
AWAY = (5, slice(60, 140))


def raters() -> Raters:
    def row(values) -> jnp.ndarray:
        return jnp.asarray(values, jnp.float32)

    models = UserModels(
        rule=jnp.asarray(RULE),
        impact=jnp.asarray(np.where(KAPPA > 0, 3, 0)),
        level=row(RULE == 0),
        stall_weight=row(0.1 * (RULE != 1)),
        quality_weight=row(RULE != 0),
        kappa_b=row(KAPPA),
        kappa_c=row(KAPPA),
    )
    return Raters(models=models, variance=row([0.8, 0.8, 0.8]), rating_p=jnp.float32(0.5), bend=jnp.float32(0.0))


def felt_of(stall_s, quality, swipes_per_min, speed_mps) -> np.ndarray:
    """E* = 1 + 4 clip(q (B C)^-kappa, 0, 1), written out."""
    q = np.where(RULE == 0, 1 - 0.1 * stall_s, np.where(RULE == 1, quality, quality - 0.1 * stall_s))
    behaviour = 1 + np.minimum(swipes_per_min / 12, 1)
    environment = 1 + (40 - np.clip(3.6 * speed_mps, 2, 40)) / 38
    return 1 + 4 * np.clip(q * (behaviour * environment) ** -KAPPA, 0, 1)


def world() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Truth and trace of eight minutes; `experience` and `believed` hold the last whole minute's."""
    rng = np.random.default_rng(5)
    truth = {
        "active": np.ones((SLOTS, USERS), bool),
        "rebuffer_s": (rng.random((SLOTS, USERS)) < 0.03) * rng.random((SLOTS, USERS)),
        "quality": np.clip(np.linspace(0.55, 0.95, USERS) + rng.normal(0, 0.1, (SLOTS, USERS)), 0, 1),
        "swipes": (rng.random((SLOTS, USERS)) < 0.1).astype(np.int32),
        "speed_mps": np.broadcast_to(np.linspace(0.5, 11, USERS), (SLOTS, USERS)),
        "needed_bits": np.full((SLOTS, USERS), 2e6),
        "delivered_bits": rng.uniform(1e6, 2.5e6, (SLOTS, USERS)),
        "sinr_db": rng.normal(10, 3, (SLOTS, USERS)),
    }
    truth["active"][AWAY[1], AWAY[0]] = False
    there = truth["active"]
    experience, believed = np.zeros((SLOTS, USERS), np.float32), np.ones((SLOTS, USERS), np.float32)
    for first in range(0, SLOTS, 60):
        minute = slice(first, first + 60)
        slots = np.maximum(there[minute].sum(axis=0), 1)
        played = (1 - truth["rebuffer_s"][minute]) * there[minute]
        stall_s = (truth["rebuffer_s"][minute] * there[minute]).sum(axis=0)
        swipes = (truth["swipes"][minute] * there[minute]).sum(axis=0)
        quality = (played * truth["quality"][minute]).sum(axis=0) / np.maximum(played.sum(axis=0), 1e-6)
        felt = felt_of(stall_s, quality, 60 * swipes / slots, truth["speed_mps"][0])
        experience[first + 59 : first + 119] = np.where(slots >= 30, felt, 0.0)
        believed[first + 59 : first + 119] = np.clip(felt + 0.1, 1, 5)
    return truth | {"experience": experience}, {"believed": believed}


TRUTH, TRACE = world()


def blocks(length: int) -> list[Block]:
    return [
        Block(
            first_slot=first,
            slot_s=1.0,
            truth={name: values[first : first + length] for name, values in TRUTH.items()},
            trace={name: values[first : first + length] for name, values in TRACE.items()},
            user_slice=SLICE,
            cell_bandwidth_hz=np.ones(1),
            server_cycles_per_s=np.ones(1),
            policy="experience",
        )
        for first in range(0, SLOTS, length)
    ]


def begin() -> Minutes:
    return Minutes(Followed(AGREED, SLICE, raters(), 1.0))


@pytest.fixture(scope="module")
def whole() -> tuple[Minutes, pa.Table]:
    """All eight minutes in blocks of a minute, with the structures that twins hold."""
    minutes, held = begin(), np.stack([RULE, np.array([0, 1, 2, 3, 0, 1])])
    return minutes, pa.concat_tables(minutes.add(block, held) for block in blocks(60))


def columns(table: pa.Table) -> dict[str, np.ndarray]:
    return {name: table[name].to_numpy() for name in table.column_names}


def test_a_row_holds_what_its_user_lived_and_felt(whole):
    rows = columns(whole[1])
    assert len(rows["user"]) == 8 * USERS - 1 and not np.any((rows["user"] == 5) & (rows["slot"] == 119))
    assert set(rows["slot"]) == set(range(59, SLOTS, 60))
    for slot in (59, 239):
        mine = rows["slot"] == slot
        minute = slice(slot - 59, slot + 1)
        np.testing.assert_array_equal(rows["experience"][mine], TRUTH["experience"][slot])
        np.testing.assert_array_equal(rows["agreed"][mine], AGREED)
        np.testing.assert_allclose(rows["stall_s"][mine], TRUTH["rebuffer_s"][minute].sum(axis=0), rtol=1e-6)
        np.testing.assert_array_equal(rows["swipes_per_min"][mine], TRUTH["swipes"][minute].sum(axis=0))
        lived = [rows[name][mine] for name in ("stall_s", "quality", "swipes_per_min", "speed_mps")]
        np.testing.assert_allclose(felt_of(*lived), rows["experience"][mine], rtol=1e-5)
        np.testing.assert_allclose(felt_of(0 * lived[0], *lived[1:]), rows["no_stalls"][mine], rtol=1e-5)
        np.testing.assert_allclose(felt_of(0 * lived[0], 1.0, *lived[2:]), rows["at_best"][mine], rtol=1e-5)
    assert [RULES[one] for one in RULE] == rows["rule"][:USERS].tolist() == rows["believed_rule"][:USERS].tolist()
    assert rows["believed_impact"][:4].tolist() == list(IMPACTS)


def test_half_a_minute_counts_for_the_time_that_was_lived(whole):
    rows = columns(whole[1])
    late = (rows["user"] == 5) & (rows["slot"] == 179)
    there = slice(140, 180)
    assert rows["swipes_per_min"][late] == pytest.approx(TRUTH["swipes"][there, 5].mean() * 60, rel=1e-6)
    share = np.minimum(TRUTH["delivered_bits"][there, 5] / 2e6, 1).mean()
    assert rows["satisfaction"][late] == pytest.approx(share, rel=1e-6)


@pytest.mark.parametrize("length", [10, 80, 480])
def test_blocks_of_any_length_give_the_same_rows_and_figures(length, whole):
    minutes = begin()
    made = [minutes.add(block) for block in blocks(length)]
    rows, known = columns(pa.concat_tables(one for one in made if one is not None)), columns(whole[1])
    assert set(known) - set(rows) == {"believed_rule", "believed_impact"}
    for name, values in rows.items():
        np.testing.assert_array_equal(values, known[name], err_msg=name)
    assert ela_figures(minutes.lived(), NAMES) == ela_figures(whole[0].lived(), NAMES)


def test_minutes_go_on_from_a_checkpoint_inside_a_minute(whole, tmp_path):
    first, parts = begin(), blocks(80)
    for number, block in enumerate(parts[:2]):
        rows = first.add(block)
        assert rows is not None
        files.write_part(tmp_path, "experience", number, rows)
    again = begin()
    again.restore(first.under_way, files.read_parts(tmp_path, "experience"))
    rest = [again.add(block) for block in parts[2:]]
    known = columns(whole[1])
    for name, values in columns(pa.concat_tables(one for one in rest if one is not None)).items():
        np.testing.assert_array_equal(values, known[name][known["slot"] >= 160], err_msg=name)
    for figures in (qoe_figures, lambda lived: ela_figures(lived, NAMES)):
        assert figures(again.lived()) == figures(whole[0].lived())
    np.testing.assert_array_equal(agreement_ratios(again.lived()), agreement_ratios(whole[0].lived()))


def test_figures_follow_from_the_rows(whole):
    rows, lived = columns(whole[1]), whole[0].lived()
    qoe = qoe_figures(lived)
    assert qoe["minutes"] == 8 * USERS - 1
    assert qoe["median"] == pytest.approx(np.median(rows["experience"]), rel=1e-6)
    assert qoe["belief_error"] == pytest.approx(np.abs(rows["believed"] - rows["experience"]).mean(), rel=1e-5)
    cell = rows["slot"] // 180
    mean = np.array(
        [[rows["experience"][(rows["user"] == u) & (cell == c)].mean() for c in range(2)] for u in range(USERS)]
    )
    ela = ela_figures(lived, NAMES)
    assert (ela["users"], ela["cells"], ela["grid_s"]) == (USERS, 2 * USERS, 180.0)
    assert ela["share"] == pytest.approx((mean >= AGREED[:, None]).mean())
    assert 0 < ela["share"] < 1
    assert ela["ratio"] == pytest.approx(np.minimum(mean / AGREED[:, None], 1).mean(), rel=1e-5)
    assert ela["users_reached"] == pytest.approx((mean.mean(axis=1) >= AGREED).mean())
    assert ela["time_below"] == pytest.approx(1 - ela["share"])
    below = mean < AGREED[:, None]
    assert ela["alarms"] == below[:, 0].sum() + (below[:, 1] & ~below[:, 0]).sum()
    assert set(ela["by_slice"]) == {"basic", "gold"}
    for at, name in enumerate(("basic", "gold")):
        part = ela["by_slice"][name]
        assert part["share"] == pytest.approx((~below)[at == SLICE].mean()) and part["users"] == 3
    np.testing.assert_allclose(agreement_ratios(lived), (mean / AGREED[:, None]).reshape(-1), rtol=1e-5)
    assert flat_figures({"qoe": qoe, "ela": ela})["ela_share"] == ela["share"]


def test_without_experience_or_a_full_stretch_nothing_is_told():
    minutes = begin()
    assert minutes.add(blocks(10)[0]) is None
    assert qoe_figures(minutes.lived()) == {} == ela_figures(minutes.lived(), NAMES)
    for block in blocks(10)[1:12]:
        minutes.add(block)
    assert qoe_figures(minutes.lived())["minutes"] == 2 * USERS - 1
    assert ela_figures(minutes.lived(), NAMES) == {} and not agreement_ratios(minutes.lived()).size
    assert flat_figures({"satisfaction": 1.0}) == {}
