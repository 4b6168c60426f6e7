"""Due groups (terms of one account and product due on one day, renewed together) and the renewals of accounts."""

from __future__ import annotations

from datetime import date

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.policy import Policy
from renewals.features.revenue.terms import FOLLOW_ON_COLUMNS, is_within_grace
from renewals.features.revenue.valuation import (
    CHANGE_COLUMNS,
    ROUNDING_CENTS,
    ROWS_BEFORE,
    ROWS_TO_CURRENT,
    Holdings,
    clip_cents,
    decompose_change,
    left_join_columns,
    positive_part,
    sum_cents,
    total_seats,
)

OUTCOMES = ("renewed_flat", "renewed_with_expansion", "renewed_with_contraction", "churned", "pending")


def renewals(ledger: ir.Table) -> ir.Table:
    """Outcome and amounts of each renewal (set of contracts), one row per (account_id, end_date).

    A set is renewed if any of its contracts was; null until all of them matured. A contract that was cancelled and
    replaced by one with the *same* end was amended: the later contract counts instead. If contracts with this end are
    booked after the set matured, they form a further row with the `known_at` of their first contract, so that the first
    outcome never changes. `due_at` is the last day on which one of its contracts that came due so far ended;
    `amount_renewed` is the amount due of the contracts that were bought again, at any price. A contract that became
    known only after it had matured is in the ledger, but in no set.
    """
    null = ibis.null("int64")
    return (
        ledger.filter(~_.amended, _.known_at < _.matured_at)
        .group_by("account_id", "end_date", known_at=_.set_known_at)
        .agg(
            plan=_.plan.max(),
            closed=_.set_closed.all(),
            renewed=_.renewed.max(),
            contracts=_.count(),
            amount_due=sum_cents(_.amount_due),
            amount_renewed=sum_cents(_.amount_due, _.renewed == 1).fill_null(0),
            **{name: sum_cents(_[name]) for name in CHANGE_COLUMNS},
            due_at=_.due_at.max(),
            matured_at=_.set_matured_at.max(),
        )
        .mutate(**{name: _.closed.ifelse(_[name], null) for name in ("renewed", "amount_renewed", *CHANGE_COLUMNS)})
        .mutate(renewed=_.renewed.cast("int8"), outcome=_outcome(_.closed, _.renewed == 1))
        .drop("closed")
    )


def group_due_terms(due: ir.Table) -> ir.Table:
    """Amount, seats, plan and length of each due group, one row per due group.

    Plan and length are those of its largest term.
    """
    largest = ibis.row_number().over(group_by="due_group", order_by=[-_.amount, _.term]) == 0
    return (
        due.mutate(main=largest)
        .group_by("due_group")
        .agg(
            due=_.due.max(),
            amount=sum_cents(_.amount),
            seats=total_seats(),
            plan=_.plan.max(where=_.main),
            years=_.years.max(where=_.main),
        )
    )


def follow_on_holdings(allocations: ir.Table) -> ir.Table:
    """Amount, seats and plan of the follow-ons allocated to each due group, one row per due group that has any.

    The amounts in `allocations` are converted at the rate of the group's due day.
    """
    return allocations.group_by("due_group").agg(
        new_amount=sum_cents(_.amount), new_seats=total_seats(), new_plan=_.plan.max(where=_.nth == 0)
    )


def extra_replaced_terms(
    consolidated_terms: ir.Table, terms: ir.Table, due_groups: ir.Table, policy: Policy
) -> ir.Table:
    """Terms of other groups that the follow-ons of a due group also replace, one row per (due group, old term).

    Only replacements known when the due group matures count.
    """
    homes = due_groups.select("due", home=_.due_group)
    amounts = terms.select("arr", "currency", "seats", old=_.term)
    return (
        consolidated_terms.inner_join(homes, "home")
        .filter(_.home_settled.isnull() | (_.home_settled > _.due + policy.grace.after_days))
        .inner_join(amounts, "old")
        .select("due", "arr", "currency", "seats", due_group=_.home)
    )


def add_bundles(due_groups: ir.Table, allocations: ir.Table, extra_terms: ir.Table) -> ir.Table:
    """Add the bundle of each due group (groups replaced together) and its amounts, one row per due group."""
    bundles = allocations.filter(_.bundle.notnull()).group_by("due_group").agg(bundle=_.bundle.max())
    by_bundle = {"group_by": "bundle", "order_by": ["due", "due_group"]}
    extra_terms = extra_terms.group_by("due_group").agg(extra=sum_cents(_.amount), extra_seats=total_seats())
    alone = _.extra.isnull() & (_.before == 0) & (_.bundle == _.due_group)
    return (
        left_join_columns(
            left_join_columns(due_groups, bundles, "due_group", "bundle"),
            extra_terms,
            "due_group",
            "extra",
            "extra_seats",
        )
        .mutate(bundle=_.bundle.coalesce(_.due_group))
        .mutate(before=_.amount.sum().over(rows=ROWS_BEFORE, **by_bundle).fill_null(0))
        .mutate(
            alone=alone,
            bundle_amount=_.amount + _.extra.fill_null(0),
            bundle_seats=_.extra.isnull().ifelse(_.seats, _.seats + _.extra_seats),
        )
    )


def due_group_changes(due_groups: ir.Table, new: ir.Table, successors: ir.Table, policy: Policy) -> ir.Table:
    """Amounts kept, up-sold and contracted, and the price change of each due group, one row per due group.

    Where several groups share follow-ons, their amount is used up in the order of the due days; the remainder is the
    gain of the home group.
    """
    joined = left_join_columns(
        left_join_columns(due_groups, new, "due_group", "new_amount", "new_seats", "new_plan"),
        successors,
        "due_group",
        *FOLLOW_ON_COLUMNS,
    )
    t = joined.mutate(new_amount=_.new_amount.fill_null(0), renewed=_.follow_on_start.notnull())
    old = Holdings(t.bundle_amount, t.bundle_seats, t.plan)
    t = t.mutate(**decompose_change(old, Holdings(t.new_amount, t.new_seats, t.new_plan), t.years, policy))
    alone = _.alone & _.renewed
    retained_alone = positive_part(_.amount - _.contraction - positive_part(-_.price_change))
    retained_shared = clip_cents(_.new_amount - _.before, _.amount)
    gain = (_.bundle == _.due_group).ifelse(positive_part(_.new_amount - _.bundle_amount), 0)
    return (
        t.mutate(retained=_.renewed.ifelse(alone.ifelse(retained_alone, retained_shared), 0), gain=gain)
        .mutate(price_change=alone.ifelse(_.price_change, clip_cents(_.price_change, _.gain)))
        .mutate(upsell=alone.ifelse(_.upsell, _.gain - _.price_change))
        .mutate(contraction=alone.ifelse(_.contraction, _.amount - _.retained))
        .select(
            "due_group",
            "retained",
            "upsell",
            "price_change",
            "contraction",
            "renewed",
            *FOLLOW_ON_COLUMNS,
            group_amount=_.amount,
        )
    )


def split_by_contract(due: ir.Table, due_groups: ir.Table) -> ir.Table:
    """Split the amounts of each due group over its contracts by size, to the cent, one row per contract."""
    by_size = {"group_by": "due_group", "order_by": [-_.amount, _.term]}
    empty = _.group_amount == 0
    lost = _.amount - _.amount_kept

    def share(total: ir.Value) -> ir.Value:
        """Contract's share of `total`: a difference of rounded running sums, so that the shares add up to it."""
        return ((total * _.upper).round() - (total * _.lower).round()).cast("int64")

    return (
        due.inner_join(due_groups, "due_group")
        .mutate(reached=_.amount.sum().over(rows=ROWS_TO_CURRENT, **by_size), nth=ibis.row_number().over(**by_size))
        .mutate(
            upper=empty.ifelse(1.0, _.reached / _.group_amount.nullif(0)),
            lower=empty.ifelse((_.nth == 0).ifelse(0.0, 1.0), (_.reached - _.amount) / _.group_amount.nullif(0)),
        )
        .mutate(amount_kept=share(_.retained), upsell=share(_.upsell))
        .mutate(shrunk=(_.price_change < 0).ifelse(clip_cents(share(_.contraction), lost), lost))
        .mutate(price_change=(_.price_change < 0).ifelse(_.shrunk - lost, share(_.price_change)))
        .mutate(contraction=_.shrunk)
    )


def cross_sell_at_renewal(purchases: ir.Table, due: ir.Table, policy: Policy) -> ir.Table:
    """New products bought at a renewal, one row per new term.

    `term` is the largest old term of the nearest set due.
    """
    new = purchases.filter(_.kind == "cross_sell").select(
        "account_id", "arr", "currency", "settled", new=_.term, new_start=_.start, new_product=_.product
    )
    old = due.select("account_id", "term", "product", "start", "due", "cancel", "end", "known", "amount")
    nearest = [(_.new_start - _.seen).abs(), _.seen, -_.amount, _.term]
    return (
        new.inner_join(old, "account_id")
        .filter(_.product != _.new_product, _.start < _.new_start, _.known <= _.new_start)
        .mutate(seen=(_.cancel <= _.new_start).ifelse(_.due, _.end))
        .filter(is_within_grace(_.new_start, _.seen, policy))
        .mutate(nth=ibis.row_number().over(group_by="new", order_by=nearest))
        .filter(_.nth == 0, _.settled <= _.due + policy.grace.after_days)
        .select("term", "arr", "currency", "due")
    )


def _outcome(decided: ir.Value, renewed: ir.Value) -> ir.Value:
    """One of `OUTCOMES`, from the amounts gained and lost; a price rise alone leaves a renewal flat."""
    balance = _.upsell + _.cross_sell - (_.amount_due - _.amount_kept)
    return ibis.cases(
        (~decided, "pending"),
        (~renewed, "churned"),
        (balance >= ROUNDING_CENTS, "renewed_with_expansion"),
        (balance <= -ROUNDING_CENTS, "renewed_with_contraction"),
        else_="renewed_flat",
    )


def hide_pending_outcomes(rows: ir.Table, known_until: date) -> ir.Table:
    """Ledger entries whose outcome is hidden until it matured, one row per contract due before `known_until`."""
    now = ibis.literal(known_until, "date").cast("timestamp")
    zero, unknown = ibis.literal(0, "int64"), ibis.null("int64")
    return (
        rows.filter(_.due_at < known_until)
        .mutate(decided=_.matured_at <= now, set_closed=_.set_matured_at <= now, amount_due=_.amount)
        .mutate(**{name: _.renewed.ifelse(_[name].fill_null(0), zero) for name in CHANGE_COLUMNS})
        .mutate(outcome=_outcome(_.decided, _.renewed), amended=(_.follow_on_end == _.end_date).fill_null(False))
        .mutate(renewed=_.decided.ifelse(_.renewed.cast("int8"), ibis.null("int8")))
        .mutate(**{name: _.decided.ifelse(_[name], unknown) for name in CHANGE_COLUMNS})
        .select(
            *("contract_id", "account_id", "product", "plan", "start_date", "end_date", "due_at", "currency"),
            *("outcome", "renewed", *FOLLOW_ON_COLUMNS, "amount_due", *CHANGE_COLUMNS),
            *("known_at", "matured_at", "amended", "set_known_at", "set_matured_at", "set_closed"),
        )
    )
