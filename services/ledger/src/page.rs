//! `/statements/{account}`: the statement of an account for people. A page of lines with what the account
//! held after each, its years as documents, and for both how fresh they are: exactly, and in words.
//!
//! Works without scripts, without a network and by keyboard; a screen reader finds headings, captions and the
//! header of every row. Everything that comes from the books is escaped.

use crate::facts::{AccountId, AccountKind};
use crate::query::{AccountBalance, AccountStatement, AccountYear};
use diptych::core::BoxFuture;
use diptych::http::{AskedPage, Html, OwnPage, percent_encoded};
use diptych::prelude::*;
use diptych::query::{Find, Freshness, QueryError};

/// Lines of a page.
const LINES_MAX: usize = 25;

/// Years that are shown, the latest first.
const YEARS_MAX: usize = 10;

/// The statement page.
pub struct StatementPage;

/// In which order the lines stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Newest,
    Oldest,
}

impl OwnPage for StatementPage {
    fn segment(&self) -> &'static str {
        "statements"
    }

    fn write<'a>(&'a self, asked: &'a AskedPage) -> BoxFuture<'a, Result<Option<Html>, QueryError>> {
        Box::pin(write(asked))
    }
}

async fn write(asked: &AskedPage) -> Result<Option<Html>, QueryError> {
    asked.knows(&["order", "pageToken"])?;
    let order = order(asked)?;
    let account = AccountId::from(asked.key.as_str());
    let held = asked.queries.get::<AccountBalance>(&asked.principal, &account, None).await?;
    let Some(balance) = held.value else { return Ok(None) };
    let mut find = Find::<AccountStatement>::default()
        .filter(AccountStatement::ACCOUNT.eq(account.clone()))
        .sort(match order {
            Order::Newest => AccountStatement::POSITION.desc(),
            Order::Oldest => AccountStatement::POSITION.asc(),
        })
        .page(LINES_MAX);
    if let Some(token) = asked.parameter("pageToken") {
        find = find.after(token);
    }
    let lines = asked.queries.find(&asked.principal, find).await?;
    let find = Find::<AccountYear>::default().filter(AccountYear::ACCOUNT.eq(account)).page(YEARS_MAX);
    let years = asked.queries.find(&asked.principal, find).await?;

    let mut page = Html::titled(format!("Statement of {}", balance.name));
    heading(&mut page, &balance);
    page.open("main", &[]);
    statement(&mut page, asked, order, &lines);
    years_of(&mut page, balance.kind, &years);
    page.close("main");
    Ok(Some(page))
}

fn order(asked: &AskedPage) -> Result<Order, QueryError> {
    match asked.parameter("order") {
        None | Some("newest") => Ok(Order::Newest),
        Some("oldest") => Ok(Order::Oldest),
        Some(_) => Err(QueryError::Parameter {
            name: "order".to_owned(),
            reason: "must be `newest` or `oldest`".to_owned(),
        }),
    }
}

fn heading(page: &mut Html, balance: &AccountBalance) {
    page.open("header", &[]);
    page.element("h1", &[], &format!("Statement of {}", balance.name));
    let kind = balance.kind.name().to_lowercase();
    page.element("p", &[("class", "soft")], &format!("account {}, {kind}", balance.account));
    page.element("p", &[], &format!("It holds {}. Lines: {}.", balance.balance, balance.lines));
    page.close("header");
}

fn statement(page: &mut Html, asked: &AskedPage, order: Order, lines: &Answer<Page<AccountStatement>>) {
    page.open("section", &[("aria-labelledby", "lines")]);
    page.element("h2", &[("id", "lines")], "Lines");
    freshness(page, "statement", &lines.freshness);
    if lines.value.items.is_empty() {
        page.element("p", &[], "Nothing was posted here.");
    } else {
        line_table(page, order, &lines.value.items);
        for_nobody(page, &lines.value.items);
    }
    paging(page, asked, order, lines.value.next_page_token.as_deref());
    page.close("section");
}

/// Says how many of the lines no sum by customer has.
fn for_nobody(page: &mut Html, lines: &[AccountStatement]) {
    let nobody = lines.iter().filter(|line| line.customer.is_none()).count();
    let words = match (nobody, lines.len()) {
        (0, _) => return,
        (nobody, all) if nobody == all => "None of these lines is for a customer".to_owned(),
        (1, _) => "One of these lines is for no customer".to_owned(),
        (nobody, _) => format!("{nobody} of these lines are for no customer"),
    };
    page.element("p", &[("class", "soft")], &format!("{words}: sums by customer and month leave them out."));
}

fn line_table(page: &mut Html, order: Order, lines: &[AccountStatement]) {
    let caption = match order {
        Order::Newest => "Entries, the newest first: debits are positive, credits negative",
        Order::Oldest => "Entries, the oldest first: debits are positive, credits negative",
    };
    let headings = ["Transaction", "Posted", "Value date", "What for", "Amount", "Balance after it"];
    table(page, caption, &headings, lines, |page, line| {
        page.element("th", &[("scope", "row")], line.transaction.as_str());
        page.open("td", &[]);
        time(page, line.posted_at);
        page.close("td");
        page.element("td", &[], line.value_date.as_str());
        let words = match line.kind {
            crate::facts::LineKind::Posting => line.description.clone(),
            crate::facts::LineKind::Reversal => format!("Reversed: {}", line.description),
        };
        page.element("td", &[], &words);
        page.element("td", &[], &line.amount.to_string());
        page.element("td", &[], &line.balance.to_string());
    });
}

/// Links to the other order, to the first page and to the next.
fn paging(page: &mut Html, asked: &AskedPage, order: Order, next: Option<&str>) {
    let address = format!("{}/statements/{}", asked.prefix, percent_encoded(&asked.key));
    let (own, other, other_words) = match order {
        Order::Newest => ("newest", "oldest", "Oldest first"),
        Order::Oldest => ("oldest", "newest", "Newest first"),
    };
    page.open("nav", &[("aria-label", "Pages of the statement")]);
    page.open("ul", &[]);
    let mut link = |address: &str, relation: &str, words: &str| {
        page.open("li", &[]);
        page.element("a", &[("href", address), ("rel", relation)], words);
        page.close("li");
    };
    if let Some(token) = next {
        let next = format!("{address}?order={own}&pageToken={}", percent_encoded(token));
        link(&next, "next", "Next lines");
    }
    if asked.parameter("pageToken").is_some() {
        link(&format!("{address}?order={own}"), "first", "First lines");
    }
    link(&format!("{address}?order={other}"), "alternate", other_words);
    page.close("ul");
    page.close("nav");
}

/// A year of an account of a kind, in a sentence.
fn year_in_words(kind: AccountKind, year: &AccountYear) -> String {
    format!(
        "It opened with {} and closed with {}, after {} of debits and {} of credits. Entries: {}.",
        kind.natural(year.opening),
        kind.natural(year.closing),
        year.debit,
        year.credit,
        year.entries
    )
}

/// The years, opened and closed on the side that increases the account, as its balance is.
fn years_of(page: &mut Html, kind: AccountKind, years: &Answer<Page<AccountYear>>) {
    page.open("section", &[("aria-labelledby", "years")]);
    page.element("h2", &[("id", "years")], "Years");
    freshness(page, "analytics", &years.freshness);
    if years.value.items.is_empty() {
        page.element("p", &[], "No year of this account is in the analytics yet.");
    }
    for year in &years.value.items {
        page.element("h3", &[], year.year.as_str());
        page.element("p", &[], &year_in_words(kind, year));
        let caption = format!("Months of {}", year.year);
        table(page, &caption, &["Month", "Entries", "Debits", "Credits"], &year.months, |page, month| {
            page.element("th", &[("scope", "row")], month.month.as_str());
            page.element("td", &[], &month.entries.to_string());
            page.element("td", &[], &month.debit.to_string());
            page.element("td", &[], &month.credit.to_string());
        });
    }
    page.close("section");
}

/// How far behind something is, in words first and exactly beside them.
fn freshness(page: &mut Html, what: &str, freshness: &Freshness) {
    page.open("p", &[("role", "status")]);
    page.element("strong", &[], &format!("{what} is {}", freshness.words));
    page.text(&format!(
        "(position {}, {} events and {:.3} seconds behind)",
        freshness.projection_position, freshness.lag_events, freshness.lag_seconds
    ));
    if let Some(as_of) = freshness.as_of {
        page.text(", as of ");
        time(page, as_of);
    }
    page.close("p");
}

fn time(page: &mut Html, at: Timestamp) {
    let text = at.to_string();
    page.element("time", &[("datetime", &text)], &text);
}

/// A table that can be scrolled sideways by keyboard where it is wider than the screen.
fn table<T>(page: &mut Html, caption: &str, headings: &[&str], rows: &[T], cells: impl Fn(&mut Html, &T)) {
    page.open("div", &[("class", "scroll"), ("tabindex", "0"), ("role", "region"), ("aria-label", caption)]);
    page.open("table", &[]);
    page.element("caption", &[], caption);
    page.open("thead", &[]).open("tr", &[]);
    for heading in headings {
        page.element("th", &[("scope", "col")], heading);
    }
    page.close("tr").close("thead").open("tbody", &[]);
    for row in rows {
        page.open("tr", &[]);
        cells(page, row);
        page.close("tr");
    }
    page.close("tbody").close("table").close("div");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_opens_and_closes_on_the_side_that_increases_the_account() {
        let euros = |text: &str| Money::parse(text, Currency::EUR).unwrap();
        let year = AccountYear {
            account: "ann".into(),
            year: "2026".into(),
            entries: 2,
            opening: euros("-100.00"),
            debit: euros("30.00"),
            credit: euros("5.00"),
            closing: euros("-75.00"),
            months: Vec::new(),
        };
        let words = |opening: Money, closing: Money| {
            let moved = format!("after {} of debits and {} of credits. Entries: 2.", year.debit, year.credit);
            format!("It opened with {opening} and closed with {closing}, {moved}")
        };
        let owed = year_in_words(AccountKind::Liability, &year);
        assert_eq!(owed, words(euros("100.00"), euros("75.00")));
        let held = year_in_words(AccountKind::Asset, &year);
        assert_eq!(held, words(euros("-100.00"), euros("-75.00")));
    }
}
