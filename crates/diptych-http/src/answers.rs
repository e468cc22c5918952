//! Answers of read models as they go over the wire, for whoever asks once and for whoever follows: the rows,
//! what is under way for them, what is withheld, how fresh that is.

use crate::app::App;
use crate::error;
use crate::json::{Node, Object};
use crate::pending;
use crate::problem::Problem;
use crate::rows::{Item, PageBody, PageMember, RowBody, text, withheld};
use axum::http::StatusCode;
use diptych_core::{Code, Principal, Value};
use diptych_query::{
    Answer, AnswerTag, Ask, AskedRow, Freshness, Health, RawPage, RawRow, Schema, Unless, key_from_text,
};

/// An answer, unless the client holds it already.
pub(crate) enum Given<T> {
    /// What is held under this tag still is the answer.
    Held(AnswerTag, Freshness),
    /// The answer, with its tag.
    Fresh(T, Option<AnswerTag>),
}

/// A page as it is answered.
pub(crate) struct PageAnswer {
    pub(crate) page: RawPage,
    pub(crate) pending: Option<Vec<Object>>,
    pub(crate) freshness: Freshness,
    pub(crate) health: Health,
}

/// A row as it is answered, or that there is none.
pub(crate) struct RowAnswer {
    pub(crate) schema: &'static Schema,
    pub(crate) row: Option<RawRow>,
    pub(crate) pending: Option<Vec<Object>>,
    pub(crate) freshness: Freshness,
    pub(crate) health: Health,
}

/// Asks for a page.
pub(crate) async fn page(
    app: &App,
    principal: &Principal,
    schema: &'static Schema,
    ask: &Ask,
    held: &[AnswerTag],
) -> Result<Given<PageAnswer>, Problem> {
    let answer = app.wire.queries.ask_unless(principal, schema.name, ask, held).await;
    let Answer { value, freshness, health } = answer.map_err(error::of_query)?;
    let (page, tag) = match value {
        Unless::Same(tag) => return Ok(Given::Held(tag, freshness)),
        Unless::New(page, tag) => (page, tag),
    };
    let keys: Vec<_> = page.rows.iter().map(|row| key_of(schema, row)).collect();
    let rows = page.rows.iter().zip(&keys).map(|(row, key)| AskedRow { key, row: Some(row) });
    let rows: Vec<_> = rows.collect();
    let pending = pending::of(app, principal, schema, &rows, &freshness).await?;
    Ok(Given::Fresh(PageAnswer { page, pending, freshness, health }, tag))
}

/// Asks for a row by the segments of its key.
pub(crate) async fn row(
    app: &App,
    principal: &Principal,
    schema: &'static Schema,
    (segments, ask): (&[&str], &Ask),
    held: &[AnswerTag],
) -> Result<Given<RowAnswer>, Problem> {
    let answer = app.wire.queries.get_text_unless(principal, schema.name, segments, ask, held).await;
    let Answer { value, freshness, health } = answer.map_err(error::of_query)?;
    let (row, tag) = match value {
        Unless::Same(tag) => return Ok(Given::Held(tag, freshness)),
        Unless::New(row, tag) => (row, tag),
    };
    let key = key_from_text(schema, segments).map_err(error::of_query)?;
    let asked = [AskedRow { key: &key, row: row.as_ref() }];
    let pending = pending::of(app, principal, schema, &asked, &freshness).await?;
    let tag = tag.filter(|_| row.is_some());
    Ok(Given::Fresh(RowAnswer { schema, row, pending, freshness, health }, tag))
}

/// The key of a row.
pub(crate) fn key_of(schema: &Schema, row: &RawRow) -> Vec<Value> {
    schema.key.iter().filter_map(|column| row.values.get(*column).cloned()).collect()
}

impl PageAnswer {
    /// The text of the answer.
    pub(crate) fn text(&self) -> Vec<u8> {
        let Self { page, pending, freshness, health } = self;
        let schema = page.schema;
        let body = PageBody {
            items: page.rows.iter().map(|row| Item { schema, row }).collect(),
            pending: pending.as_deref(),
            withheld: &withheld(schema, &page.rows),
            page: PageMember { next_page_token: page.next_page_token.as_deref() },
            freshness,
            health,
        };
        text(&body, schema, page.rows.len())
    }
}

impl RowAnswer {
    /// The text for whoever follows the row, also where there is none.
    pub(crate) fn event(&self) -> String {
        let Self { schema, row, pending, freshness, health } = self;
        let item = row.as_ref().map(|row| Node::written(&Item { schema, row }));
        let masked: Vec<_> = withheld(schema, row).into_iter().map(str::to_owned).collect();
        Object::new()
            .with("item", item)
            .with_some("pending", pending.as_ref().map(Node::written))
            .with_some("withheld", Some(masked).filter(|masked| !masked.is_empty()))
            .with("freshness", Node::written(freshness))
            .with("health", Node::of(health))
            .to_text()
    }

    /// The text of the answer.
    ///
    /// # Errors
    /// The problem where there is no row, which says how fresh that is and what is under way, too.
    pub(crate) fn text(&self, key: &[String]) -> Result<Vec<u8>, Problem> {
        let Self { schema, row, pending, freshness, health } = self;
        let Some(row) = row else {
            let detail = format!("read model `{}` has no row `{}`", schema.name, key.join("/"));
            let members = Object::new()
                .with("freshness", Node::written(freshness))
                .with("health", Node::of(health))
                .with_some("pending", pending.as_ref().map(Node::written));
            return Err(Problem::new(StatusCode::NOT_FOUND, Code::NotFound, detail).with_all(members));
        };
        let body = RowBody {
            item: Item { schema, row },
            pending: pending.as_deref(),
            withheld: &withheld(schema, [row]),
            freshness,
            health,
        };
        Ok(text(&body, schema, 1))
    }
}
