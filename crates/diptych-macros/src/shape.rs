//! The shapes that derives share: enums of units and named fields, and the hidden serde types behind them.

use crate::attributes;
use crate::names;
use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use syn::{
    Attribute, Data, DataEnum, DeriveInput, Error, Fields, GenericArgument, PathArguments, Result, Type,
};

/// An enum variant that is a unit or has named fields.
pub(crate) struct Variant {
    pub(crate) ident: Ident,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) fields: Vec<Field>,
    /// Whether it is written with braces.
    pub(crate) braces: bool,
}

/// A named field.
pub(crate) struct Field {
    pub(crate) ident: Ident,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) ty: Type,
    /// Its name in JSON, camelCase.
    pub(crate) json: String,
    /// Whether it is written as an `Option`, which is left out where there is no value.
    pub(crate) optional: bool,
    /// Whether reading takes the type's default where it is absent.
    pub(crate) default: bool,
}

impl Variant {
    /// A pattern or an expression of this variant that names every field.
    pub(crate) fn with_fields(&self) -> TokenStream {
        let Self { ident, .. } = self;
        let fields = self.fields.iter().map(|field| &field.ident);
        if self.braces { quote!(Self::#ident { #(#fields),* }) } else { quote!(Self::#ident) }
    }

    /// A pattern of this variant that looks at no field.
    pub(crate) fn pattern(&self) -> TokenStream {
        let Self { ident, .. } = self;
        quote!(Self::#ident { .. })
    }
}

/// Refuses generics, which no stored name could tell apart.
pub(crate) fn refuse_generics(input: &DeriveInput, derive: &str) -> Result<()> {
    if input.generics.params.is_empty() && input.generics.where_clause.is_none() {
        return Ok(());
    }
    let message =
        format!("`{derive}` takes no generics: its names are stored and can stand for one type only");
    Err(Error::new_spanned(&input.generics, message))
}

/// The variants of an enum.
pub(crate) fn variants(input: &DeriveInput, derive: &str) -> Result<Vec<Variant>> {
    refuse_generics(input, derive)?;
    let data = enum_data(input, derive)?;
    let mut errors = None;
    let mut variants = Vec::new();
    for variant in &data.variants {
        if let Some(read) = attributes::keep(&mut errors, read_variant(variant, derive)) {
            variants.push(read);
        }
    }
    errors.map_or(Ok(variants), Err)
}

/// The enum behind an input.
pub(crate) fn enum_data<'a>(input: &'a DeriveInput, derive: &str) -> Result<&'a DataEnum> {
    match &input.data {
        Data::Enum(data) => Ok(data),
        _ => Err(Error::new(input.ident.span(), format!("`{derive}` is derived on an enum"))),
    }
}

/// The fields of a struct with named fields.
pub(crate) fn struct_fields(input: &DeriveInput, derive: &str) -> Result<Vec<Field>> {
    refuse_generics(input, derive)?;
    match &input.data {
        Data::Struct(data) if matches!(data.fields, Fields::Named(_)) => fields(&data.fields),
        _ => Err(Error::new(
            input.ident.span(),
            format!("`{derive}` is derived on a struct with named fields"),
        )),
    }
}

/// What a hidden type is made for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Reading JSON.
    Read,
    /// The JSON Schema.
    Described,
    /// Both.
    Both,
    /// The JSON Schema of something that allows no property beyond its fields.
    Closed,
}

/// The hidden type `struct name { fields }`, owned, for a role.
pub(crate) fn reading_type(
    owner: &Ident,
    name: &Ident,
    documented: &[Attribute],
    fields: &[Field],
    role: Role,
) -> TokenStream {
    let docs = attributes::docs(documented);
    let fields = fields.iter().map(|field| reading_field(owner, field));
    let derives = reading_derives(role);
    quote! {
        #(#docs)*
        #derives
        struct #name { #(#fields),* }
    }
}

/// One field of a hidden type that is read.
pub(crate) fn reading_field(owner: &Ident, field: &Field) -> TokenStream {
    let Field { ident, json, default, .. } = field;
    let ty = without_self(field.ty.to_token_stream(), owner);
    let docs = attributes::docs(&field.attributes);
    let default = default.then(|| quote!(#[serde(default)]));
    quote!(#(#docs)* #[serde(rename = #json)] #default #ident: #ty)
}

/// The derives of a hidden type, for a role.
pub(crate) fn reading_derives(role: Role) -> TokenStream {
    let read = quote! {
        #[derive(::diptych::__private::serde::Deserialize)]
        #[serde(crate = "::diptych::__private::serde")]
    };
    let described = quote! {
        #[derive(::diptych::__private::schemars::JsonSchema)]
        #[schemars(crate = "::diptych::__private::schemars")]
    };
    match role {
        Role::Read => read,
        Role::Described => described,
        Role::Both => quote!(#read #described),
        Role::Closed => quote!(#described #[serde(deny_unknown_fields)]),
    }
}

/// The hidden type that is written: borrowed fields with serde's `Serialize`.
pub(crate) fn writing_type(owner: &Ident, name: &Ident, fields: &[Field]) -> TokenStream {
    let life = (!fields.is_empty()).then(|| quote!(<'a>));
    let fields = fields.iter().map(|field| writing_field(owner, field));
    quote! {
        #[derive(::diptych::__private::serde::Serialize)]
        #[serde(crate = "::diptych::__private::serde")]
        struct #name #life { #(#fields),* }
    }
}

/// One field of a hidden type that is written.
pub(crate) fn writing_field(owner: &Ident, field: &Field) -> TokenStream {
    let Field { ident, json, optional, .. } = field;
    let ty = without_self(field.ty.to_token_stream(), owner);
    let skip = optional.then(|| quote!(#[serde(skip_serializing_if = "::core::option::Option::is_none")]));
    quote!(#[serde(rename = #json)] #skip #ident: &'a #ty)
}

/// A hidden type's name: it stands beside the user's names and must not meet them.
pub(crate) fn hidden(role: &str, of: &Ident) -> Ident {
    format_ident!("__{}{}", role, of, span = Span::call_site())
}

/// Wraps generated items so that nothing but the implementations can be named from outside.
pub(crate) fn enclosed(items: &TokenStream) -> TokenStream {
    quote! {
        #[doc(hidden)]
        #[allow(dead_code)]
        const _: () = { #items };
    }
}

/// The `T` of a type written `Option<T>`.
pub(crate) fn inside_option(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == "Option")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    match arguments.args.first() {
        Some(GenericArgument::Type(inner)) => Some(inner),
        _ => None,
    }
}

/// Says `owner` where the tokens say `Self`, so that they mean the same inside a hidden type.
pub(crate) fn without_self(tokens: TokenStream, owner: &Ident) -> TokenStream {
    let swap = |tree| match tree {
        TokenTree::Ident(ident) if ident == "Self" => {
            let mut named = owner.clone();
            named.set_span(ident.span());
            TokenTree::Ident(named)
        }
        TokenTree::Group(group) => {
            let mut inner = Group::new(group.delimiter(), without_self(group.stream(), owner));
            inner.set_span(group.span());
            TokenTree::Group(inner)
        }
        other => other,
    };
    tokens.into_iter().map(swap).collect()
}

fn read_variant(variant: &syn::Variant, derive: &str) -> Result<Variant> {
    let fields = match &variant.fields {
        Fields::Unit => Vec::new(),
        named @ Fields::Named(_) => fields(named)?,
        Fields::Unnamed(unnamed) => {
            let name = &variant.ident;
            let message = format!(
                "`{derive}` needs a name for every field, because names are stored: write `{name} {{ ... }}` \
                 with named fields, or `{name}` alone"
            );
            return Err(Error::new_spanned(unnamed, message));
        }
    };
    Ok(Variant {
        ident: variant.ident.clone(),
        attributes: variant.attrs.clone(),
        fields,
        braces: matches!(variant.fields, Fields::Named(_)),
    })
}

/// Named fields, no two of which are one in JSON.
fn fields(fields: &Fields) -> Result<Vec<Field>> {
    let fields: Vec<Field> = fields.iter().filter_map(field).collect();
    let mut seen = Vec::new();
    for field in &fields {
        attributes::once(&mut seen, &field.json, field.ident.span(), "the JSON name")?;
    }
    Ok(fields)
}

fn field(field: &syn::Field) -> Option<Field> {
    let ident = field.ident.clone()?;
    Some(Field {
        json: names::camel(&ident.to_string()),
        ident,
        attributes: field.attrs.clone(),
        optional: inside_option(&field.ty).is_some(),
        ty: field.ty.clone(),
        default: false,
    })
}
