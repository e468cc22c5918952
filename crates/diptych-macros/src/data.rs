//! `#[derive(Data)]`: JSON with camelCase properties, for what stands inside events, commands and rows.

use crate::shape::{self, Field, Role, Variant};
use crate::{attributes, names};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};
use syn::{Attribute, DeriveInput, Error, LitStr, Result};

/// Derives JSON on a struct with named fields or on an enum.
pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let body = match &input.data {
        syn::Data::Enum(_) => choice(input)?,
        _ => record(input)?,
    };
    let described = described(&input.ident);
    Ok(shape::enclosed(&quote!(#body #described)))
}

fn record(input: &DeriveInput) -> Result<TokenStream> {
    attributes::read_entries(&input.attrs, "data", "", |_, _| Ok(false))?;
    let name = &input.ident;
    let mut fields = shape::struct_fields(input, "Data")?;
    fields.iter_mut().try_for_each(read_field)?;
    let (reading, writing) = (format_ident!("__Reading"), format_ident!("__Writing"));
    let reading_type = shape::reading_type(name, &reading, &input.attrs, &fields, Role::Both);
    let writing_type = shape::writing_type(name, &writing, &fields);
    let idents: Vec<_> = fields.iter().map(|field| &field.ident).collect();
    Ok(quote! {
        #reading_type
        #writing_type

        impl ::diptych::__private::serde::Serialize for #name {
            fn serialize<S>(&self, serializer: S) -> ::core::result::Result<S::Ok, S::Error>
            where
                S: ::diptych::__private::serde::Serializer,
            {
                ::diptych::__private::serde::Serialize::serialize(
                    &#writing { #(#idents: &self.#idents),* },
                    serializer,
                )
            }
        }

        impl<'de> ::diptych::__private::serde::Deserialize<'de> for #name {
            fn deserialize<D>(deserializer: D) -> ::core::result::Result<Self, D::Error>
            where
                D: ::diptych::__private::serde::Deserializer<'de>,
            {
                let __read: #reading = ::diptych::__private::core::tagged::object(deserializer)?;
                ::core::result::Result::Ok(Self { #(#idents: __read.#idents),* })
            }
        }
    })
}

fn choice(input: &DeriveInput) -> Result<TokenStream> {
    let mut tag = LitStr::new("type", Span::call_site());
    attributes::read_entries(&input.attrs, "data", "tag", |name, entry| {
        if name == "tag" {
            tag = attributes::text(entry)?;
        }
        Ok(name == "tag")
    })?;
    let variants = shape::variants(input, "Data")?;
    if variants.is_empty() {
        return Err(Error::new(input.ident.span(), "`Data` needs at least one variant"));
    }
    let mut choice = Choice { name: &input.ident, tag, variants, words: Vec::new() };
    choice.check()?;
    let described = choice.described(&input.attrs);
    let written = choice.written();
    let read = choice.read();
    Ok(quote!(#described #written #read))
}

/// An enum being derived.
struct Choice<'a> {
    name: &'a Ident,
    tag: LitStr,
    variants: Vec<Variant>,
    words: Vec<String>,
}

impl Choice<'_> {
    /// Reads the variants' attributes and refuses a field that would be taken for the tag.
    fn check(&mut self) -> Result<()> {
        for variant in &mut self.variants {
            attributes::read_entries(&variant.attributes, "data", "", |_, _| Ok(false))?;
            let word = names::screaming(&variant.ident.to_string());
            attributes::once(&mut self.words, &word, variant.ident.span(), "the name")?;
            for field in &mut variant.fields {
                read_field(field)?;
                if field.json == self.tag.value() {
                    let message = format!(
                        "`{}` is the property that names the variant: rename the field, or choose another \
                         with `#[data(tag = \"...\")]`",
                        field.json
                    );
                    return Err(Error::new(field.ident.span(), message));
                }
            }
        }
        Ok(())
    }

    /// The hidden enum that only its JSON Schema is taken from.
    fn described(&self, documented: &[Attribute]) -> TokenStream {
        let Self { name, tag, words, .. } = self;
        let docs = attributes::docs(documented);
        let derives = shape::reading_derives(Role::Described);
        let variants = self.variants.iter().zip(words).map(|(variant, word)| {
            let ident = &variant.ident;
            let docs = attributes::docs(&variant.attributes);
            let fields = variant.fields.iter().map(|field| shape::reading_field(name, field));
            let fields = variant.braces.then(|| quote!({ #(#fields),* }));
            quote!(#(#docs)* #[serde(rename = #word)] #ident #fields)
        });
        quote! {
            #(#docs)*
            #derives
            #[serde(tag = #tag)]
            enum __Reading { #(#variants),* }
        }
    }

    fn written(&self) -> TokenStream {
        let Self { name, tag, words, .. } = self;
        let life = self.variants.iter().any(|variant| !variant.fields.is_empty());
        let life = life.then(|| quote!(<'a>));
        let variants = self.variants.iter().zip(words).map(|(variant, word)| {
            let ident = &variant.ident;
            let fields = variant.fields.iter().map(|field| shape::writing_field(name, field));
            let fields = variant.braces.then(|| quote!({ #(#fields),* }));
            quote!(#[serde(rename = #word)] #ident #fields)
        });
        let arms = self.variants.iter().map(|variant| {
            let ident = &variant.ident;
            let pattern = variant.with_fields();
            let fields = variant.fields.iter().map(|field| &field.ident);
            let fields = variant.braces.then(|| quote!({ #(#fields),* }));
            quote!(#pattern => __Writing::#ident #fields)
        });
        quote! {
            #[derive(::diptych::__private::serde::Serialize)]
            #[serde(crate = "::diptych::__private::serde", tag = #tag)]
            enum __Writing #life { #(#variants),* }

            impl ::diptych::__private::serde::Serialize for #name {
                fn serialize<S>(&self, __serializer: S) -> ::core::result::Result<S::Ok, S::Error>
                where
                    S: ::diptych::__private::serde::Serializer,
                {
                    let __written = match self { #(#arms),* };
                    ::diptych::__private::serde::Serialize::serialize(&__written, __serializer)
                }
            }
        }
    }

    fn read(&self) -> TokenStream {
        let Self { name, tag, words, .. } = self;
        let types = self.variants.iter().map(|variant| {
            let hidden = shape::hidden("Reading", &variant.ident);
            shape::reading_type(name, &hidden, &[], &variant.fields, Role::Read)
        });
        let arms = self.variants.iter().zip(words).map(|(variant, word)| {
            let hidden = shape::hidden("Reading", &variant.ident);
            let ident = &variant.ident;
            let fields = variant.fields.iter().map(|field| &field.ident);
            quote! {
                #word => {
                    let __read: #hidden = ::diptych::__private::serde::Deserialize::deserialize(__rest)?;
                    Self::#ident { #(#fields: __read.#fields),* }
                }
            }
        });
        quote! {
            #(#types)*

            impl<'de> ::diptych::__private::core::tagged::Tagged<'de> for #name {
                const TAG: &'static str = #tag;
                const NAMES: &'static [&'static str] = &[#(#words),*];

                fn read<D>(
                    __name: &str,
                    __rest: D,
                ) -> ::core::result::Result<::core::option::Option<Self>, D::Error>
                where
                    D: ::diptych::__private::serde::Deserializer<'de>,
                {
                    ::core::result::Result::Ok(::core::option::Option::Some(match __name {
                        #(#arms)*
                        _ => return ::core::result::Result::Ok(::core::option::Option::None),
                    }))
                }
            }

            impl<'de> ::diptych::__private::serde::Deserialize<'de> for #name {
                fn deserialize<D>(deserializer: D) -> ::core::result::Result<Self, D::Error>
                where
                    D: ::diptych::__private::serde::Deserializer<'de>,
                {
                    ::diptych::__private::core::tagged::deserialize(deserializer)
                }
            }
        }
    }
}

/// The JSON Schema of the hidden type under the name of the visible one.
fn described(name: &Ident) -> TokenStream {
    let text = name.to_string();
    quote! {
        impl ::diptych::__private::schemars::JsonSchema for #name {
            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                ::std::borrow::Cow::Borrowed(#text)
            }

            fn schema_id() -> ::std::borrow::Cow<'static, str> {
                ::std::borrow::Cow::Borrowed(::core::concat!(::core::module_path!(), "::", #text))
            }

            fn json_schema(
                generator: &mut ::diptych::__private::schemars::SchemaGenerator,
            ) -> ::diptych::__private::schemars::Schema {
                <__Reading as ::diptych::__private::schemars::JsonSchema>::json_schema(generator)
            }
        }
    }
}

fn read_field(field: &mut Field) -> Result<()> {
    let mut default = false;
    attributes::read_entries(&field.attributes, "data", "default", |name, _| {
        default |= name == "default";
        Ok(name == "default")
    })?;
    field.default = default;
    Ok(())
}
