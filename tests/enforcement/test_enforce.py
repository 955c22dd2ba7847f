"""An action is in effect when the network says so; lost ones are asked for anew, and too many losses lead back."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.enforcement import EFFECTS, enforce, nothing_pending
from twinloop.entities import Action
from twinloop.network import AbstractNetwork, Receipts
from twinloop.validation import first_approved

RETRIES = 2


class Held(eqx.Module):
    """What a toy network holds: an action and its number."""

    action: Action
    revision: jax.Array


class Toy(AbstractNetwork[Held]):
    """Takes every action unless `deaf`."""

    deaf: bool

    def report(self, key, plant, request):
        raise NotImplementedError

    def apply(self, key, plant, action, revision):
        return plant if self.deaf else Held(action, revision)


def action(number: float) -> Action:
    flows = jnp.full(4, number)
    return Action(jnp.ones(1, bool), flows[:2, None], flows[:1, None], flows[:1, None], flows, flows)


def number(held: Action) -> float:
    leaves = [np.asarray(leaf, float).max() for leaf in jax.tree.leaves(held)[1:]]
    assert len(set(leaves)) == 1, "parts of different actions must not mix"
    return leaves[0]


def play(deaf: list[bool], retries: int = RETRIES):
    """One new decision a slot, numbered 1, 2, ...; `deaf` says in which slots the network loses what it is told."""
    pending = nothing_pending(first_approved(action(0.0)))
    plant = Held(action(0.0), jnp.int32(0))
    story = []
    for slot, lost in enumerate(deaf):
        receipts = Receipts(plant.revision, jnp.int32(0))
        new = first_approved(action(slot + 1.0))
        plant, pending = enforce(jax.random.key(slot), Toy(lost), plant, new, pending, receipts, retries)
        story.append((EFFECTS[int(pending.effect)], number(pending.requested), number(pending.confirmed)))
    return plant, pending, story


def test_an_action_is_confirmed_by_the_next_receipt_and_not_by_sending():
    plant, pending, story = play([False, False, False])
    assert story == [("applied", 1, 0), ("applied", 2, 1), ("applied", 3, 2)]
    assert (number(plant.action), int(plant.revision)) == (3, 3)
    assert (int(pending.revision), int(pending.confirmed_revision)) == (3, 2)


def test_a_lost_request_is_reconciled_by_the_next_decision():
    plant, pending, story = play([False, True, False, False])
    assert [effect for effect, _, _ in story] == ["applied", "applied", "pending", "applied"]
    assert story[2] == ("pending", 3, 1), "the lost second action never counts as in effect"
    assert int(pending.missed) == 0 and int(pending.rolled_back) == 0
    assert number(plant.action) == 4


def test_more_than_the_retries_lost_in_a_row_roll_back_to_what_is_known_to_hold():
    plant, pending, story = play([False] + [True] * (RETRIES + 1) + [False, False])
    effects = [effect for effect, _, _ in story]
    assert effects == ["applied", "applied", "pending", "pending", "rolled_back", "applied"]
    assert story[4] == ("rolled_back", 1, 1), "the last confirmed action is asked for, not the new one"
    assert int(pending.rolled_back) == 1
    assert story[5] == ("applied", 6, 1)
    assert number(plant.action) == 6


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_the_count_of_roll_backs_grows_once_every_retries_plus_one_losses(retries):
    lost = 3 * (retries + 1)
    _, pending, story = play([True] * (lost + 1), retries)
    assert int(pending.rolled_back) == 3
    assert [effect for effect, _, _ in story].count("rolled_back") == 3
    assert number(pending.confirmed) == 0


def test_a_stale_receipt_confirms_nothing():
    pending = nothing_pending(first_approved(action(0.0)))
    plant = Held(action(0.0), jnp.int32(0))
    told = Receipts(jnp.int32(0), jnp.int32(0))
    for slot in range(2):
        new = first_approved(action(slot + 1.0))
        plant, pending = enforce(jax.random.key(0), Toy(False), plant, new, pending, told, RETRIES)
    assert (EFFECTS[int(pending.effect)], number(pending.confirmed), int(pending.missed)) == ("pending", 0, 1)
