//! The words that policies may use: a Cedar schema made from what a service declares. Judges nothing.

use crate::{CategoryDeclaration, Declarations, PolicyError};
use cedar_policy::{EntityId, EntityTypeName, EntityUid, Schema as CedarSchema};
use diptych_core::{AttributeKind, PolicyAttribute, ValueType};
use diptych_query::{Schema, Sensitivity};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The actions on rows of a read model, beside those on its fields.
pub(crate) const VIEW_ROW: &str = "viewRow";
pub(crate) const VIEW_REDACTED: &str = "viewRedacted";
pub(crate) const VIEW_FIELD: &str = "viewField";
pub(crate) const SEARCH_BY: &str = "searchBy";
pub(crate) const EXPORT: &str = "export";
pub(crate) const VIEW_ALL_TENANTS: &str = "viewAllTenants";
/// The actions on an aggregate, beside its commands.
pub(crate) const IMPORT: &str = "import";
pub(crate) const READ_AGGREGATE: &str = "readAggregate";
pub(crate) const VIEW_HISTORY: &str = "viewHistory";
/// The actions on the service.
pub(crate) const READ_COMMAND: &str = "readCommand";
pub(crate) const READ_AUDIT: &str = "readAudit";

/// The types that are there in every service.
pub(crate) const USER: &str = "User";
pub(crate) const ROLE: &str = "Role";
pub(crate) const TEAM: &str = "Team";
pub(crate) const SERVICE: &str = "Service";

/// What Cedar keeps for itself and would not take as the name of an attribute without quotes.
const RESERVED: [&str; 11] =
    ["true", "false", "if", "then", "else", "in", "is", "like", "has", "__cedar", "action"];

/// The words of one service.
#[derive(Clone, Debug)]
pub(crate) struct Vocabulary {
    pub(crate) text: String,
    pub(crate) schema: CedarSchema,
    pub(crate) categories: BTreeMap<String, CategoryWords>,
    pub(crate) views: BTreeMap<&'static str, View>,
}

/// The words of a category.
#[derive(Clone, Debug)]
pub(crate) struct CategoryWords {
    pub(crate) type_name: EntityTypeName,
    pub(crate) view: Vec<PolicyAttribute>,
    pub(crate) commands: BTreeMap<String, Vec<PolicyAttribute>>,
}

/// The words of a read model.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) schema: &'static Schema,
    pub(crate) type_name: EntityTypeName,
    pub(crate) attributes: BTreeMap<String, Attribute>,
}

/// What an attribute of a row is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Attribute {
    /// What a column holds.
    Column(usize),
    /// The place of a column's text among its choices.
    Rank(usize),
}

impl Vocabulary {
    /// The words for what is declared.
    ///
    /// # Errors
    /// Two declarations that would have the same name.
    pub(crate) fn of(declarations: &Declarations) -> Result<Self, PolicyError> {
        let types = type_names(declarations)?;
        let text = text(declarations, &types);
        let invalid = |error: String| PolicyError::one(format!("the schema for policies: {error}"));
        let schema = CedarSchema::from_cedarschema_str(&text).map_err(|error| invalid(error.to_string()))?.0;
        let named = |name: &str| {
            name.parse::<EntityTypeName>().map_err(|_| invalid(format!("`{name}` cannot be a type")))
        };
        let categories = declarations.categories.iter().map(|category| {
            let commands = category.commands.iter();
            let words = CategoryWords {
                type_name: named(&types.category(&category.category))?,
                view: category.view.clone(),
                commands: commands.map(|command| (command.name.clone(), command.fields.clone())).collect(),
            };
            Ok((category.category.clone(), words))
        });
        let categories = categories.collect::<Result<_, PolicyError>>()?;
        let views = declarations.models.iter().map(|schema| {
            let type_name = named(&view_type(schema))?;
            Ok((schema.name, View { schema, type_name, attributes: attributes(schema) }))
        });
        let views = views.collect::<Result<_, PolicyError>>()?;
        Ok(Self { text, schema, categories, views })
    }
}

/// The id of an entity.
pub(crate) fn uid(type_name: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(type_name.clone(), EntityId::new(id))
}

/// The id of an entity of a type that every service has.
pub(crate) fn fixed_uid(type_name: &str, id: &str) -> EntityUid {
    uid(&type_name.parse().expect("the fixed types have valid names"), id)
}

/// The id of an action.
pub(crate) fn action_uid(name: &str) -> EntityUid {
    fixed_uid("Action", name)
}

/// The name of a command's action.
pub(crate) fn command_action(category: &str, command: &str) -> String {
    format!("{category}.{command}")
}

/// How a column's sensitivity is called and ranked.
pub(crate) fn sensitivity(schema: &Schema, column: usize) -> (&'static str, i64) {
    let own = schema.columns.get(column).map_or(Sensitivity::Public, |spec| spec.sensitivity);
    // Whoever may see a row may see its key.
    let own = if schema.is_guarded(column) { own } else { Sensitivity::Public };
    match own {
        Sensitivity::Public => ("public", 0),
        Sensitivity::Internal => ("internal", 1),
        Sensitivity::Personal => ("personal", 2),
        Sensitivity::Restricted => ("restricted", 3),
    }
}

/// Which types the categories have.
struct Types(BTreeMap<String, String>);

impl Types {
    fn category(&self, category: &str) -> String {
        self.0.get(category).cloned().unwrap_or_default()
    }
}

fn type_names(declarations: &Declarations) -> Result<Types, PolicyError> {
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    let mut problems = Vec::new();
    let mut claim = |name: String, owner: String| {
        if let Some(other) = owners.insert(name.clone(), owner.clone()) {
            problems.push(format!("{other} and {owner} would both be `{name}` in policies"));
        }
    };
    let mut types = BTreeMap::new();
    for CategoryDeclaration { category, .. } in &declarations.categories {
        let mut name = pascal(category);
        if [USER, ROLE, TEAM, SERVICE].contains(&name.as_str()) {
            name.push_str("Stream");
        }
        claim(name.clone(), format!("category `{category}`"));
        types.insert(category.clone(), name);
    }
    for model in &declarations.models {
        claim(view_type(model), format!("read model `{}`", model.name));
    }
    if problems.is_empty() { Ok(Types(types)) } else { Err(PolicyError { problems }) }
}

fn view_type(schema: &Schema) -> String {
    let name = pascal(schema.name);
    if name.ends_with("View") { name } else { format!("{name}View") }
}

/// `decision_work_queue` as `DecisionWorkQueue`.
fn pascal(name: &str) -> String {
    let words = name.split(['_', '-']).filter(|word| !word.is_empty());
    words.map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect()
}

/// The columns that policies may read, and the ranks of those that compare by one.
fn attributes(schema: &Schema) -> BTreeMap<String, Attribute> {
    let mut attributes = BTreeMap::new();
    for (index, column) in schema.columns.iter().enumerate() {
        if cedar_type(column.value_type).is_some() {
            attributes.insert(column.public.to_owned(), Attribute::Column(index));
        }
    }
    for (index, column) in schema.columns.iter().enumerate().filter(|(_, column)| column.ranked) {
        attributes.entry(format!("{}Rank", column.public)).or_insert(Attribute::Rank(index));
    }
    attributes
}

fn cedar_type(value_type: ValueType) -> Option<&'static str> {
    match value_type {
        ValueType::Integer | ValueType::Timestamp => Some("Long"),
        ValueType::Bool => Some("Bool"),
        ValueType::Text => Some("String"),
        ValueType::Money | ValueType::Bytes | ValueType::Json => None,
    }
}

fn kind_type(kind: AttributeKind) -> &'static str {
    match kind {
        AttributeKind::Text => "String",
        AttributeKind::Integer | AttributeKind::Time => "Long",
        AttributeKind::Bool => "Bool",
        AttributeKind::Texts => "Set<String>",
    }
}

/// A record of attributes, one a line.
fn record(attributes: impl Iterator<Item = (String, &'static str, bool)>, indent: &str) -> String {
    let mut out = String::from("{");
    for (name, kind, always) in attributes {
        let optional = if always { "" } else { "?" };
        let name = if is_plain(&name) { name } else { format!("\"{}\"", name.escape_default()) };
        let _ = write!(out, "\n{indent}    {name}{optional}: {kind},");
    }
    if out.len() > 1 {
        let _ = write!(out, "\n{indent}");
    }
    out + "}"
}

fn is_plain(name: &str) -> bool {
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let holds = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    begins && holds && !RESERVED.contains(&name)
}

fn fields(attributes: &[PolicyAttribute], indent: &str) -> String {
    let each = attributes.iter().map(|one| (one.name.to_string(), kind_type(one.kind), one.always));
    record(each, indent)
}

fn row(schema: &Schema) -> String {
    let each = attributes(schema).into_iter().map(|(name, attribute)| {
        let (Attribute::Column(index) | Attribute::Rank(index)) = attribute;
        let column = &schema.columns[index];
        let kind = match attribute {
            Attribute::Column(_) => cedar_type(column.value_type).unwrap_or("String"),
            Attribute::Rank(_) => "Long",
        };
        (name, kind, !column.nullable)
    });
    record(each, "")
}

/// The whole schema, as Cedar and people read it.
fn text(declarations: &Declarations, types: &Types) -> String {
    let mut out = String::from(
        "// Who asks. The name is the actor; parents are the actor's roles and teams.\n\
         entity Role;\nentity Team;\n\
         entity User in [Role, Team] = {\n    tenant: String,\n    actor: String,\n    \
         teams: Set<String>,\n    roles: Set<String>,\n    clearance: Long,\n};\n\n\
         // What belongs to no stream and to no row.\n\
         entity Service;\n",
    );
    for category in &declarations.categories {
        let name = types.category(&category.category);
        let attributes = fields(&category.view, "");
        let _ = write!(
            out,
            "\n// A stream of `{}`, with what its decider offers of the state.\n\
             entity {name} = {attributes};\n",
            category.category
        );
    }
    for model in &declarations.models {
        let (name, attributes) = (view_type(model), row(model));
        let _ = write!(out, "\n// A row of `{}`.\nentity {name} = {attributes};\n", model.name);
    }
    actions(declarations, types, &mut out);
    out
}

fn actions(declarations: &Declarations, types: &Types, out: &mut String) {
    let mut action = |name: &str, groups: &str, resources: &[String], context: &str| {
        let on = resources.join(", ");
        let applies = format!("appliesTo {{ principal: [User], resource: [{on}], context: {context} }}");
        // An action that applies to nothing has no place in a schema.
        if !resources.is_empty() {
            let _ = write!(out, "\naction \"{name}\"{groups} {applies};\n");
        }
    };
    let service = [SERVICE.to_owned()];
    action(READ_COMMAND, "", &service, "{}");
    action(READ_AUDIT, "", &service, "{}");
    let aggregates: Vec<_> =
        declarations.categories.iter().map(|one| types.category(&one.category)).collect();
    action(READ_AGGREGATE, "", &aggregates, "{ key: String }");
    action(VIEW_HISTORY, "", &aggregates, "{ key: String }");
    action(IMPORT, "", &aggregates, "{}");
    let views: Vec<_> = declarations.models.iter().map(|model| view_type(model)).collect();
    let field = "{ field: String, sensitivity: String, sensitivityRank: Long }";
    let asked =
        "{ field: String, sensitivity: String, sensitivityRank: Long, value?: String, number?: Long }";
    for (name, context) in [
        (VIEW_ROW, "{}"),
        (VIEW_REDACTED, "{}"),
        (EXPORT, "{}"),
        (VIEW_ALL_TENANTS, "{}"),
        (VIEW_FIELD, field),
        (SEARCH_BY, asked),
    ] {
        action(name, "", &views, context);
    }
    for category in &declarations.categories {
        let group = format!(" in [\"{}.commands\"]", category.category);
        for command in &category.commands {
            let name = command_action(&category.category, &command.name);
            let body = fields(&command.fields, "    ");
            let context = format!("{{\n    key: String,\n    command: {body},\n}}");
            action(&name, &group, &[types.category(&category.category)], &context);
        }
    }
    out.push_str("\n// Every command, and every command of a category.\naction \"commands\";\n");
    for category in &declarations.categories {
        let _ = writeln!(out, "action \"{}.commands\" in [\"commands\"];", category.category);
    }
}
