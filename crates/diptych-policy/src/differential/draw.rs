//! Draws random policies of the supported language, principals and rows, from what a read model declares. The
//! policies read every column, fail by overflow and by what has no value behind a guard that is not one, and
//! meet the extremes of their types.

use diptych_core::{Claims, Principal, Timestamp, Value, ValueType};
use diptych_query::{ColumnSpec, Schema};
use fastrand::Rng;
use std::fmt::Write;

/// Texts that stores and patterns are easily mistaken about.
const TEXTS: [&str; 16] =
    ["", "a", "A", "ab", "aB", "a*b", "a%b", "a_b", "a\\b", "[a]", "?", "é", "É", "a\nb", "zürich", "ann"];

/// Numbers, with those that overflow.
const NUMBERS: [i64; 11] =
    [0, 1, -1, 2, 3, 7, 1_000_000, i64::MAX, i64::MIN, i64::MAX - 1, 4_611_686_018_427_387_904];

/// What teams, roles, actors and tenants are called; some are texts of rows, too.
const NAMES: [&str; 5] = ["a", "ab", "ann", "é", "a*b"];

/// How deep an expression may be.
const DEPTH_MAX: usize = 4;

/// Draws for one read model.
pub struct Draw<'a> {
    rng: &'a mut Rng,
    schema: &'static Schema,
    /// Columns that a guard has been written for, by their index.
    guarded: Vec<usize>,
}

impl<'a> Draw<'a> {
    /// Draws from a source of randomness.
    pub fn new(rng: &'a mut Rng, schema: &'static Schema) -> Self {
        Self { rng, schema, guarded: Vec::new() }
    }

    /// A principal.
    ///
    /// # Panics
    /// Never: the names are valid.
    pub fn principal(&mut self) -> Principal {
        let some = |rng: &mut Rng| {
            NAMES.iter().filter(|_| rng.u8(..3) == 0).map(|name| (*name).to_owned()).collect()
        };
        let claims = Claims { teams: some(self.rng), roles: some(self.rng), clearance: self.rng.u32(..4) };
        let (tenant, actor) = (self.rng.choice(NAMES).unwrap_or("a"), self.rng.choice(NAMES).unwrap_or("a"));
        Principal::new(tenant, actor).expect("the names are valid").with(claims)
    }

    /// A row; the text of a key column ends with `number`, so that rows differ by their keys.
    pub fn row(&mut self, number: usize) -> Vec<Value> {
        let columns = self.schema.columns.iter().enumerate();
        let value = |(index, column): (usize, &ColumnSpec)| {
            let value = self.value(column);
            match value {
                Value::Text(text) if self.schema.key.contains(&index) => {
                    Value::Text(format!("{text}-{number}"))
                }
                value => value,
            }
        };
        columns.map(value).collect()
    }

    fn value(&mut self, column: &ColumnSpec) -> Value {
        if column.nullable && self.rng.u8(..3) == 0 {
            return Value::Null;
        }
        match column.value_type {
            ValueType::Bool => Value::Bool(self.rng.bool()),
            ValueType::Integer => Value::Integer(self.number()),
            ValueType::Timestamp => Value::Timestamp(Timestamp::from_stored(self.rng.i64(0..5_000_000))),
            ValueType::Text => match self.rng.choice(column.choices) {
                Some(choice) => Value::Text((*choice).to_owned()),
                None => Value::Text(self.rng.choice(TEXTS).unwrap_or("").to_owned()),
            },
            ValueType::Money | ValueType::Bytes | ValueType::Json => Value::Null,
        }
    }

    /// A set of policies for the rows of the model, one to five.
    pub fn policies(&mut self) -> String {
        let mut out = String::new();
        let type_name = self
            .schema
            .name
            .split('_')
            .fold(String::new(), |name, word| name + &word[..1].to_ascii_uppercase() + &word[1..])
            + "View";
        for number in 0..self.rng.usize(1..6) {
            let effect = if number > 0 && self.rng.u8(..3) == 0 { "forbid" } else { "permit" };
            let head = match self.rng.u8(..4) {
                0 => "principal in Role::\"ann\"",
                1 => "principal in Team::\"a\"",
                _ => "principal",
            };
            let action = match self.rng.u8(..5) {
                0 => "action",
                1 => "action in [Action::\"viewRow\", Action::\"export\"]",
                2 => "action == Action::\"export\"",
                _ => "action == Action::\"viewRow\"",
            };
            let (kind, condition) = (if self.rng.u8(..5) == 0 { "unless" } else { "when" }, self.bool(0));
            let _ = writeln!(
                out,
                "@id(\"p{number}\") {effect} ({head}, {action}, resource is {type_name}) \
                 {kind} {{ {condition} }};"
            );
        }
        out
    }

    fn number(&mut self) -> i64 {
        self.rng.choice(NUMBERS).unwrap_or_default()
    }

    /// A column of a type that may be read here: one that always has a value or that is guarded.
    fn readable(&mut self, fits: impl Fn(&ColumnSpec) -> bool) -> Option<&'static ColumnSpec> {
        let columns = self.schema.columns.iter().enumerate();
        let readable: Vec<_> = columns
            .filter(|(index, column)| fits(column) && (!column.nullable || self.guarded.contains(index)))
            .map(|(_, column)| column)
            .collect();
        self.rng.choice(readable)
    }

    fn bool(&mut self, depth: usize) -> String {
        if depth >= DEPTH_MAX {
            return self.plain_bool();
        }
        match self.rng.u8(..18) {
            0 => format!("!({})", self.bool(depth + 1)),
            1..=3 => format!("({} && {})", self.bool(depth + 1), self.bool(depth + 1)),
            4..=5 => format!("({} || {})", self.bool(depth + 1), self.bool(depth + 1)),
            6 => {
                let (test, then, other) = (self.bool(depth + 1), self.bool(depth + 1), self.bool(depth + 1));
                format!("(if {test} then {then} else {other})")
            }
            7..=9 => self.guard(depth),
            10..=11 => {
                let compare = self.rng.choice(["<", "<=", ">", ">=", "==", "!="]).unwrap_or("<");
                format!("({} {compare} {})", self.long(depth + 1), self.long(depth + 1))
            }
            12 => {
                let compare = self.rng.choice(["==", "!="]).unwrap_or("==");
                format!("({} {compare} {})", self.text(depth + 1), self.text(depth + 1))
            }
            13 => format!("({} like \"{}\")", self.text(depth + 1), self.pattern()),
            14..=15 => self.set_question(depth),
            _ => self.plain_bool(),
        }
    }

    fn plain_bool(&mut self) -> String {
        match self.rng.u8(..7) {
            0 => "true".to_owned(),
            1 => "false".to_owned(),
            2 => format!("(principal in Role::\"{}\")", self.name()),
            3 => format!("(principal == User::\"{}\")", self.name()),
            4 => match self.rng.choice(self.schema.columns) {
                Some(column) if column.value_type != ValueType::Json => {
                    format!("(resource has {})", column.public)
                }
                _ => "(1 < 2)".to_owned(),
            },
            _ => match self.readable(|column| column.value_type == ValueType::Bool) {
                Some(column) => format!("resource.{}", column.public),
                None => "(2 < 1)".to_owned(),
            },
        }
    }

    /// Something about a column that may have no value, behind a guard.
    fn guard(&mut self, depth: usize) -> String {
        let columns = self.schema.columns.iter().enumerate();
        let fits = |column: &ColumnSpec| column.nullable && column.value_type != ValueType::Json;
        let nullable: Vec<_> = columns.filter(|(_, column)| fits(column)).collect();
        let Some((index, column)) = self.rng.choice(nullable) else { return self.plain_bool() };
        let public = column.public;
        self.guarded.push(index);
        let behind = self.bool(depth + 1);
        self.guarded.pop();
        match self.rng.u8(..3) {
            0 => {
                let other = self.bool(depth + 1);
                format!("(if resource has {public} then {behind} else {other})")
            }
            _ => format!("(resource has {public} && {behind})"),
        }
    }

    fn set_question(&mut self, depth: usize) -> String {
        match self.rng.u8(..6) {
            0 => {
                format!("[{}, {}].contains({})", self.number_text(), self.number_text(), self.long(depth + 1))
            }
            1 => format!(
                "[{}, {}].contains({})",
                self.long(depth + 1),
                self.long(depth + 1),
                self.long(depth + 1)
            ),
            2 => format!("{}.contains({})", self.texts(depth), self.text(depth + 1)),
            3 => format!("{}.containsAny({})", self.texts(depth), self.texts(depth)),
            4 => format!("{}.containsAll({})", self.texts(depth), self.texts(depth)),
            _ => format!("{}.isEmpty()", self.texts(depth)),
        }
    }

    fn texts(&mut self, depth: usize) -> String {
        match self.rng.u8(..5) {
            0..=1 => "principal.teams".to_owned(),
            2 => "principal.roles".to_owned(),
            3 => format!("[{}]", self.text(depth + 1)),
            _ => format!("[{}, {}]", self.text(depth + 1), self.text(depth + 1)),
        }
    }

    fn long(&mut self, depth: usize) -> String {
        let rank = |column: &ColumnSpec| column.ranked;
        match self.rng.u8(..if depth >= DEPTH_MAX { 6 } else { 11 }) {
            0..=1 => self.number_text(),
            2 => "principal.clearance".to_owned(),
            3 => match self.readable(rank) {
                Some(column) => format!("resource.{}Rank", column.public),
                None => self.number_text(),
            },
            4..=6 => {
                let number = |column: &ColumnSpec| {
                    matches!(column.value_type, ValueType::Integer | ValueType::Timestamp)
                };
                match self.readable(number) {
                    Some(column) => format!("resource.{}", column.public),
                    None => self.number_text(),
                }
            }
            7..=8 => {
                let sign = self.rng.choice(["+", "-", "*"]).unwrap_or("+");
                format!("({} {sign} {})", self.long(depth + 1), self.long(depth + 1))
            }
            9 => format!("(-({}))", self.long(depth + 1)),
            _ => {
                let (test, then, other) = (self.bool(depth + 1), self.long(depth + 1), self.long(depth + 1));
                format!("(if {test} then {then} else {other})")
            }
        }
    }

    fn text(&mut self, depth: usize) -> String {
        match self.rng.u8(..if depth >= DEPTH_MAX { 7 } else { 8 }) {
            0..=1 => quoted(self.rng.choice(TEXTS).unwrap_or("")),
            2 => "principal.actor".to_owned(),
            3 => "principal.tenant".to_owned(),
            7 => {
                let (test, then, other) = (self.bool(depth + 1), self.text(depth + 1), self.text(depth + 1));
                format!("(if {test} then {then} else {other})")
            }
            _ => match self.readable(|column| column.value_type == ValueType::Text) {
                Some(column) => format!("resource.{}", column.public),
                None => quoted(self.name()),
            },
        }
    }

    fn number_text(&mut self) -> String {
        let number = self.number();
        if number < 0 { format!("({number})") } else { number.to_string() }
    }

    fn name(&mut self) -> &'static str {
        self.rng.choice(NAMES).unwrap_or("a")
    }

    fn pattern(&mut self) -> String {
        let mut pattern = String::new();
        for _ in 0..self.rng.usize(1..5) {
            let parts = ["*", "*", "a", "A", "b", "\\*", "%", "_", "?", "[", "\\\\", "é", "\\n"];
            pattern.push_str(self.rng.choice(parts).unwrap_or("*"));
        }
        pattern
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
