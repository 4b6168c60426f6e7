"""Terms of contracts, and the terms that follow them."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.policy import Policy
from renewals.features.revenue.valuation import (
    ROWS_BEFORE,
    ROWS_TO_CURRENT,
    day_number,
    left_join_columns,
)

FOLLOW_ON_COLUMNS = ("follow_on_id", "follow_on_start", "follow_on_end", "follow_on_known_at")


def build_terms(contracts: ir.Table, policy: Policy, requires_payment: bool) -> ir.Table:
    """Contracts that ran, with their days as numbers and their due group, one row per contract."""
    after = policy.grace.after_days
    paid = _.paid_at.isnull().ifelse(ibis.null("timestamp"), (_.paid_at > _.known_at).ifelse(_.paid_at, _.known_at))
    terms = (
        contracts.select(
            "contract_id",
            "account_id",
            product=_.product.cast("string").fill_null("core"),
            plan=_.plan.cast("string"),
            arr=_.arr.cast("float64"),
            currency=_.currency.cast("string").fill_null(policy.money.reporting_currency),
            seats=_.seats.cast("int64").nullif(0),
            start_date=_.start_date.cast("timestamp").date(),
            end_date=_.end_date.cast("timestamp").date(),
            cancelled=_.cancelled_at.cast("timestamp").date(),
            known_at=ibis.coalesce(_.signed_at.cast("timestamp"), _.start_date.cast("timestamp")),
            paid_at=_.paid_at.cast("timestamp"),
        )
        .mutate(due_at=(_.cancelled < _.end_date).ifelse(_.cancelled, _.end_date))
        .filter(_.due_at > _.start_date)
        .mutate(
            settled_at=paid if requires_payment else _.known_at,
            matured_at=(_.due_at + ibis.interval(days=after + 1)).cast("timestamp"),
            start=day_number(_.start_date),
            end=day_number(_.end_date),
            due=day_number(_.due_at),
            cancel=day_number(_.cancelled),
            known=day_number(_.known_at.date()),
            paid=day_number(_.paid_at.date()),
        )
        .mutate(
            settled=day_number(_.settled_at.date()),
            years=(_.end - _.start) / 365.0,
            term=ibis.row_number().over(
                order_by=["account_id", "product", "start_date", "end_date", "contract_id", "arr"]
            ),
        )
    )
    # A contract that became known only after the others of its due day matured cannot have been renewed with them.
    together = ["account_id", "product", "due", _.known > _.due + after]
    return _add_sets(terms.mutate(due_group=_.term.min().over(group_by=together)))


def _add_sets(terms: ir.Table) -> ir.Table:
    """Add the times when the renewal set of each contract became known and matures, one row per contract.

    A contract known only after all earlier known contracts of its set matured starts a new set. A contract known only
    after it had itself matured was never an open renewal, and is kept separate.
    """
    by_end = ["account_id", "end_date", _.known_at >= _.matured_at]
    known = {"group_by": by_end, "order_by": ["known_at", "term"]}
    return (
        terms.mutate(earlier=_.matured_at.max().over(rows=ROWS_BEFORE, **known))
        .mutate(opens=(_.known_at >= _.earlier).ifelse(1, 0))
        .mutate(nth=_.opens.sum().over(rows=ROWS_TO_CURRENT, **known))
        .mutate(
            set_known_at=_.known_at.min().over(group_by=[*by_end, "nth"]),
            set_matured_at=_.matured_at.max().over(group_by=[*by_end, "nth"]),
        )
        .drop("earlier", "opens")
    )


def _term_owners(terms: ir.Table, accounts: ir.Table | None) -> ir.Table:
    """Accounts whose follow-on counts for each term, one row per (term, owner).

    The owners are the account itself and, after a merger, its parent.
    """
    direct = terms.select(
        *("account_id", "product", "due_group", "due", "due_at", "cancel", "end", "known", "known_at"),
        old=_.term,
        old_start=_.start,
        owner=_.account_id,
        merged=ibis.literal(False),
    )
    if accounts is None:
        return direct
    parents = (
        accounts.select("account_id", owner=_.parent_account_id.cast(terms.account_id.type()))
        .filter(_.owner.notnull(), _.owner != _.account_id)
        .distinct()
    )
    merged = direct.drop("owner", "merged").inner_join(parents, "account_id").mutate(merged=ibis.literal(True))
    return direct.union(merged.select(direct.columns))


def is_within_grace(start: ir.Value, due: ir.Value, policy: Policy) -> ir.Value:
    return (start >= due - policy.grace.before_days) & (start <= due + policy.grace.after_days)


def match_terms(terms: ir.Table, accounts: ir.Table | None, policy: Policy) -> ir.Table:
    """Pairs of an old term and a new term that follows or replaces it, one row per (old term, new term).

    `follows` and `replaces` are flags; `mainly` marks the main replaced term, and `home` is its due group. A parent's
    term counts for a merged account only if it replaces no term of the parent itself.
    """
    after = policy.grace.after_days
    old = _term_owners(terms, accounts)
    new = terms.filter(_.settled.notnull()).select(
        "product", "settled", owner=_.account_id, new=_.term, new_start=_.start, new_due=_.due, new_end=_.end
    )
    in_time = _.settled <= _.due + after
    nearest = [
        _.replaces.ifelse(0, 1),
        _.replaces.ifelse((_.new_start - _.seen).abs(), ibis.greatest(_.due, _.known)),
        _.seen,
        _.old,
    ]
    return (
        old.inner_join(new, ["owner", "product"])
        .filter(_.new_start > _.old_start)
        .mutate(seen=(_.cancel <= _.new_start).ifelse(_.due, _.end))
        .mutate(
            follows=in_time & is_within_grace(_.new_start, _.due, policy) & (_.new_due > _.due),
            replaces=in_time
            & is_within_grace(_.new_start, _.seen, policy)
            & (_.new_end > _.seen)
            & (_.known <= _.new_start),
        )
        .filter(_.follows | _.replaces)
        .mutate(same_account=(_.replaces & ~_.merged).any().over(group_by="new"))
        .filter(~_.merged | ~_.same_account)
        .mutate(mainly=ibis.row_number().over(group_by="new", order_by=nearest) == 0)
        .mutate(home=_.mainly.ifelse(_.due_group, ibis.null("int64")).max().over(group_by="new"))
    )


def allocate_follow_ons(term_matches: ir.Table, terms: ir.Table) -> ir.Table:
    """New terms that follow or replace each due group, one row per (due group, new term).

    `claimed` is true if the money of the new term counts for the group. A group that is the home of a new term is
    served by all terms with this home; any other group joins the bundle of the term that was first settled to replace
    it.
    """
    new_terms = terms.select(
        *("arr", "currency", "seats", "plan", "contract_id", "start_date", "end_date", "known_at", "settled", "start"),
        new=_.term,
    )
    first = [_.replaces.ifelse(0, 1), (_.home == _.due_group).ifelse(0, 1), _.settled, _.start, _.new]
    return (
        term_matches.mutate(replaces=_.replaces | _.mainly)
        .group_by("due_group", "new")
        .agg(follows=_.follows.any(), replaces=_.replaces.any(), home=_.home.max(), due=_.due.max())
        .inner_join(new_terms, "new")
        .mutate(nth=ibis.row_number().over(group_by="due_group", order_by=first))
        .mutate(bundle=((_.nth == 0) & _.replaces).ifelse(_.home, ibis.null("int64")).max().over(group_by="due_group"))
        .mutate(claimed=(_.follows & _.replaces & (_.home == _.bundle)).fill_null(False))
        .mutate(
            nth=ibis.row_number().over(
                group_by=["due_group", "follows"],
                order_by=[_.claimed.ifelse(0, 1), _.claimed.ifelse(-_.arr, 0.0), _.start, _.new],
            )
        )
    )


def find_consolidated_terms(term_matches: ir.Table) -> ir.Table:
    """Old terms replaced by a follow-on of another due group, with this group (`home`), one row per old term.

    `settled` is the day since when. `home_settled` is the day when the group got a follow-on of its own after all:
    until then the term counts in the group that absorbed it.
    """
    replaced = term_matches.filter(_.replaces | _.mainly)
    at_home = replaced.filter(_.home == _.due_group).group_by("due_group").agg(home_settled=_.settled.min())
    first = ibis.row_number().over(group_by="old", order_by=["settled", "new_start", "new"])
    elsewhere = replaced.filter(_.home != _.due_group).mutate(nth=first).filter(_.nth == 0)
    return left_join_columns(
        elsewhere.select("old", "due_group", "home", "settled"), at_home, "due_group", "home_settled"
    )


def find_successors(allocations: ir.Table) -> ir.Table:
    """The follow-on that continues each due group, one row per group with a follow-on.

    It is the largest one whose home is the group.
    """
    return allocations.filter(_.follows, _.nth == 0).select(
        "due_group",
        continued=_.claimed.ifelse(_.start, ibis.null("int64")),
        follow_on_id=_.contract_id,
        follow_on_start=_.start_date,
        follow_on_end=_.end_date,
        follow_on_known_at=_.known_at,
    )
