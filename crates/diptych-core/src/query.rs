//! Queries over tags: which facts a decision rests on. Pure: the same question that a store asks its index is
//! answered here for one fact at a time. Absent on purpose: positions and how a store finds anything.
//!
//! The model is the dynamic consistency boundary (<https://dcb.events/specification/>): an event matches a
//! query if it matches one of its items, and an item if it has all of its tags and one of its types.

use crate::limits::{QUERY_ITEMS_MAX, TAGS_PER_ITEM_MAX, TYPES_PER_ITEM_MAX};
use crate::{Category, Position, RawFact, StreamId, Tag, TagValue, TextError};
use std::collections::BTreeSet;
use thiserror::Error;

/// Facts of one tenant, by their tags, their types and their stream.
///
/// ```
/// use diptych_core::TagQuery;
/// let query = TagQuery::tagged("course", "rust-101").or_tagged("student", "ann").of_types(&["Enrolled"]);
/// assert_eq!(query.checked()?.items().len(), 2);
/// # Ok::<(), diptych_core::TagError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TagQuery {
    items: Vec<QueryItem>,
    /// The only category whose facts match; those of every category where there is none.
    category: Option<Category>,
    /// The first thing that was wrong while it was put together.
    problem: Option<TagError>,
}

/// One way for a fact to match.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum QueryItem {
    /// It has all of these tags, and is of one of these types unless there is none.
    Tagged {
        /// The tags, at least one. A store looks for the first one first.
        tags: Vec<Tag>,
        /// The stored names of types.
        types: Vec<String>,
        /// The stored names of types with which the item begins anew: what stands before the newest of them
        /// is not read. Nothing is left out where there is none.
        since: Vec<String>,
    },
    /// It belongs to this stream.
    Stream(StreamId),
}

/// A tag or a query that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TagError {
    /// A value makes no tag.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The query has no item, or one without a tag: it would be about everything.
    #[error("a query names at least one tag or stream in each item")]
    Empty,
    /// Too many of something.
    #[error("a query has at most {limit} {what}, this one has more")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A condition was added to an item that takes none.
    #[error("an item for a whole stream takes no tags and no types")]
    WholeStream,
    /// An item begins with a type that it does not read.
    #[error("an item begins with `{name}`, which is none of its types")]
    BeginningLeftOut {
        /// The stored name of the type.
        name: String,
    },
}

impl TagQuery {
    /// Facts with a tag.
    #[must_use]
    pub fn tagged<V: TagValue + ?Sized>(name: &str, value: &V) -> Self {
        Self::default().or_tagged(name, value)
    }

    /// Facts of a stream.
    #[must_use]
    pub fn stream(stream: &StreamId) -> Self {
        Self::default().or_stream(stream)
    }

    /// Also facts with a tag: another item. A list of values makes an item whose facts have all of them.
    #[must_use]
    pub fn or_tagged<V: TagValue + ?Sized>(mut self, name: &str, value: &V) -> Self {
        self.items.push(QueryItem::Tagged { tags: Vec::new(), types: Vec::new(), since: Vec::new() });
        self.and_tagged(name, value)
    }

    /// Also facts of a stream: another item.
    #[must_use]
    pub fn or_stream(mut self, stream: &StreamId) -> Self {
        self.items.push(QueryItem::Stream(stream.clone()));
        self
    }

    /// Of the last item only the facts that have this tag, too.
    #[must_use]
    pub fn and_tagged<V: TagValue + ?Sized>(mut self, name: &str, value: &V) -> Self {
        let added = match self.items.last_mut() {
            Some(QueryItem::Tagged { tags, .. }) => Tag::add(tags, name, value).map_err(TagError::Text),
            Some(QueryItem::Stream(_)) => Err(TagError::WholeStream),
            None => Err(TagError::Empty),
        };
        self.note(added)
    }

    /// Of the last item only the facts of one of these types, by their stored names.
    #[must_use]
    pub fn of_types(self, names: &[&str]) -> Self {
        self.add_types(names, |types, _| types)
    }

    /// Of the last item only the newest fact of one of these types, by their stored names, and what came
    /// after it: a fact that says all over again what those before it said, as a balance that is carried
    /// forward does. All of the item is read where there is no such fact.
    ///
    /// It narrows what is read, never what a decision is held against: any later fact of the item breaks the
    /// condition. INVARIANT (the decider's): `evolve` puts what such a fact says in the place of what its
    /// state has on the matter, because another item may bring in some of the facts before it.
    ///
    /// ```
    /// # use diptych_core::TagQuery;
    /// let query = TagQuery::tagged("account", "ann").since(&["BalanceCarriedForward"]);
    /// # assert!(query.checked().is_ok());
    /// ```
    #[must_use]
    pub fn since(self, names: &[&str]) -> Self {
        self.add_types(names, |_, since| since)
    }

    fn add_types(
        mut self,
        names: &[&str],
        list: for<'a> fn(&'a mut Vec<String>, &'a mut Vec<String>) -> &'a mut Vec<String>,
    ) -> Self {
        let added = match self.items.last_mut() {
            Some(QueryItem::Tagged { types, since, .. }) => {
                list(types, since).extend(names.iter().map(|name| (*name).to_owned()));
                Ok(())
            }
            Some(QueryItem::Stream(_)) => Err(TagError::WholeStream),
            None => Err(TagError::Empty),
        };
        self.note(added)
    }

    /// Only facts of this category, whatever the items say.
    #[must_use]
    pub fn within(self, category: Category) -> Self {
        Self { category: Some(category), ..self }
    }

    /// The query, if it is one that stores can answer.
    ///
    /// # Errors
    /// What was wrong first.
    pub fn checked(self) -> Result<Self, TagError> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        at_most("items", QUERY_ITEMS_MAX, self.items.len())?;
        for item in &self.items {
            if let QueryItem::Tagged { tags, types, since } = item {
                at_most("tags in an item", TAGS_PER_ITEM_MAX, tags.len())?;
                at_most("types in an item", TYPES_PER_ITEM_MAX, types.len().max(since.len()))?;
                if let Some(name) = since.iter().find(|name| !types.is_empty() && !types.contains(name)) {
                    return Err(TagError::BeginningLeftOut { name: name.clone() });
                }
                if tags.is_empty() {
                    return Err(TagError::Empty);
                }
            }
        }
        if self.items.is_empty() { Err(TagError::Empty) } else { Ok(self) }
    }

    /// The ways to match: one is enough.
    #[must_use]
    pub fn items(&self) -> &[QueryItem] {
        &self.items
    }

    /// The only category whose facts match; those of every category where there is none.
    #[must_use]
    pub fn category(&self) -> Option<&Category> {
        self.category.as_ref()
    }

    /// Whether facts of a stream can match at all.
    #[must_use]
    pub fn admits(&self, stream: &StreamId) -> bool {
        self.category.as_ref().is_none_or(|category| *category == stream.category)
    }

    /// Whether a fact of the query's tenant matches, given the tags that it was written with. This is what
    /// breaks a condition; where an item has a beginning, less is read ([`TagQuery::selects`]).
    #[must_use]
    pub fn matches(&self, fact: &RawFact, tags: &[Tag]) -> bool {
        self.admits(&fact.stream.stream) && self.items.iter().any(|item| item.matches(fact, tags))
    }

    /// Which facts of a log are read: those that match an item and do not stand before its beginning. The log
    /// is the tenant's, in order of position, each fact with the tags that it was written with.
    #[must_use]
    pub fn selects<'a>(&self, log: impl IntoIterator<Item = (&'a RawFact, &'a [Tag])>) -> BTreeSet<Position> {
        let mut found: Vec<Vec<Position>> = vec![Vec::new(); self.items.len()];
        for (fact, tags) in log.into_iter().filter(|(fact, _)| self.admits(&fact.stream.stream)) {
            for (item, found) in self.items.iter().zip(&mut found) {
                if item.matches(fact, tags) {
                    if item.begins_with(&fact.event.name) {
                        found.clear();
                    }
                    found.push(fact.position);
                }
            }
        }
        found.into_iter().flatten().collect()
    }

    fn note(mut self, added: Result<(), TagError>) -> Self {
        if let Err(problem) = added {
            self.problem.get_or_insert(problem);
        }
        self
    }
}

impl QueryItem {
    fn matches(&self, fact: &RawFact, tags: &[Tag]) -> bool {
        match self {
            Self::Stream(wanted) => *wanted == fact.stream.stream,
            Self::Tagged { tags: wanted, types, .. } => {
                wanted.iter().all(|tag| tags.contains(tag))
                    && (types.is_empty() || types.iter().any(|name| **name == *fact.event.name))
            }
        }
    }

    /// Whether the item begins anew with a fact of a type, by its stored name, that matches it.
    fn begins_with(&self, name: &str) -> bool {
        matches!(self, Self::Tagged { since, .. } if since.iter().any(|held| held == name))
    }
}

fn at_most(what: &'static str, limit: usize, count: usize) -> Result<(), TagError> {
    if count > limit { Err(TagError::TooMany { what, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventName, StreamRef, Tenant, Timestamp, Version};
    use std::sync::Arc;

    fn fact(stream: &str, event: &str) -> RawFact {
        let stream = StreamId::parse(stream).unwrap();
        RawFact {
            position: Position(1),
            stream: Arc::new(StreamRef { tenant: Tenant::new("main").unwrap(), stream }),
            version: Version(1),
            event: EventName { name: event.into(), schema_version: 1 },
            recorded_at: Timestamp::EPOCH,
            occurred_at: Timestamp::EPOCH,
            metadata: "{}".into(),
            payload: "{}".into(),
        }
    }

    fn tags(texts: &[&str]) -> Vec<Tag> {
        texts.iter().map(|text| Tag::new(text).unwrap()).collect()
    }

    #[track_caller]
    fn check(query: &TagQuery, tagged: &[&str], expected: bool) {
        assert_eq!(query.matches(&fact("enrolment-1", "Enrolled"), &tags(tagged)), expected, "{tagged:?}");
    }

    #[test]
    fn an_item_wants_all_of_its_tags_and_a_query_one_of_its_items() {
        let both = TagQuery::tagged("course", "c").and_tagged("student", "s");
        check(&both, &["course:c"], false);
        check(&both, &["other:x", "student:s", "course:c"], true);
        let either = TagQuery::tagged("course", "c").or_tagged("student", "s");
        check(&either, &["course:c"], true);
        check(&either, &["student:s"], true);
        check(&either, &["student:c", "course:s"], false);
        check(&either, &[], false);
    }

    #[test]
    fn types_streams_and_the_category_narrow_it() {
        check(&TagQuery::tagged("course", "c").of_types(&["Left", "Enrolled"]), &["course:c"], true);
        check(&TagQuery::tagged("course", "c").of_types(&["Left"]), &["course:c"], false);
        let stream = |text| TagQuery::stream(&StreamId::parse(text).unwrap());
        check(&stream("enrolment-1"), &[], true);
        check(&stream("enrolment-2"), &["course:c"], false);
        check(&stream("enrolment-2").or_tagged("course", "c"), &["course:c"], true);
        let within = |name| TagQuery::tagged("course", "c").within(Category::new(name).unwrap());
        check(&within("enrolment"), &["course:c"], true);
        check(&within("course"), &["course:c"], false);
    }

    #[test]
    fn an_item_is_read_from_its_newest_beginning_on_and_matches_all_the_same() {
        let log: Vec<_> = ["Enrolled", "Left", "Enrolled", "Left", "Enrolled"]
            .into_iter()
            .zip(1..)
            .map(|(event, number)| {
                let course = if number == 4 { "course:d" } else { "course:c" };
                let fact = RawFact { position: Position(number), ..fact("enrolment-1", event) };
                (fact, tags(&[course, "student:s"]))
            })
            .collect();
        let read = |query: &TagQuery| {
            let log = log.iter().map(|(fact, tags)| (fact, tags.as_slice()));
            query.selects(log).into_iter().map(|position| position.0).collect::<Vec<_>>()
        };
        let since = TagQuery::tagged("course", "c").since(&["Left"]);
        assert_eq!(read(&since), [2, 3, 5], "a beginning has all tags of its item");
        assert!(since.matches(&log[0].0, &log[0].1), "what is not read breaks a condition");
        let never = TagQuery::tagged("course", "c").since(&["CourseOffered"]);
        assert_eq!(read(&never), [1, 2, 3, 5], "without a beginning all is read");
        assert_eq!(read(&since.clone().or_tagged("student", "s")), [1, 2, 3, 4, 5], "items are read apart");
    }

    #[track_caller]
    fn refused(query: TagQuery, expected: &str) {
        assert_eq!(query.checked().unwrap_err().to_string(), expected);
    }

    #[test]
    fn what_no_store_could_answer_is_refused() {
        refused(TagQuery::default(), "a query names at least one tag or stream in each item");
        refused(
            TagQuery::tagged("tutor", &None::<String>),
            "a query names at least one tag or stream in each item",
        );
        refused(TagQuery::tagged("email", ""), "a tag's value must not be empty");
        let many: Vec<i64> = (0..9).collect();
        refused(TagQuery::tagged("n", &many), "a query has at most 8 tags in an item, this one has more");
        let wide = many.iter().chain(&many).fold(TagQuery::default(), |query, n| query.or_tagged("n", n));
        refused(wide, "a query has at most 16 items, this one has more");
        let stream = TagQuery::stream(&StreamId::parse("course-1").unwrap());
        refused(stream.clone().and_tagged("a", "b"), "an item for a whole stream takes no tags and no types");
        refused(stream.since(&["Left"]), "an item for a whole stream takes no tags and no types");
        let left_out = TagQuery::tagged("a", "b").of_types(&["Enrolled"]).since(&["Left"]);
        refused(left_out, "an item begins with `Left`, which is none of its types");
    }
}
