//! What events, commands and rejections share: each variant is stored as one JSON object of its fields.

use crate::shape::{self, Role, Variant};
use proc_macro2::{Ident, TokenStream};
use quote::quote;

/// A variant with the name it is stored under.
pub(crate) type Named<'a> = (&'a Variant, &'a str);

/// One hidden type to read or describe, and one to write, for each variant.
pub(crate) fn hidden_types(owner: &Ident, variants: &[Named<'_>], role: Role) -> TokenStream {
    let types = variants.iter().map(|(variant, _)| {
        let reading = shape::hidden("Reading", &variant.ident);
        let writing = shape::hidden("Writing", &variant.ident);
        let read = shape::reading_type(owner, &reading, &variant.attributes, &variant.fields, role);
        let written = shape::writing_type(owner, &writing, &variant.fields);
        quote!(#read #written)
    });
    quote!(#(#types)*)
}

/// `fn encode`: the object of the fields.
pub(crate) fn encode(variants: &[Named<'_>]) -> TokenStream {
    let arms = variants.iter().map(|(variant, stored)| {
        let pattern = variant.with_fields();
        let writing = shape::hidden("Writing", &variant.ident);
        let fields = variant.fields.iter().map(|field| &field.ident);
        quote! {
            #pattern => {
                ::diptych::__private::serde_json::to_string(&#writing { #(#fields),* })
                    .map_err(|error| ::diptych::__private::core::EncodeError::new(#stored, error))
            }
        }
    });
    let body = matched(variants.is_empty(), &quote!(#(#arms)*));
    quote! {
        fn encode(
            &self,
        ) -> ::core::result::Result<::std::string::String, ::diptych::__private::core::EncodeError> {
            #body
        }
    }
}

/// `fn schemas`: the JSON Schema of each object.
pub(crate) fn schemas(variants: &[Named<'_>]) -> TokenStream {
    let schemas = variants.iter().map(|(variant, _)| {
        let reading = shape::hidden("Reading", &variant.ident);
        quote!(<#reading as ::diptych::__private::schemars::JsonSchema>::json_schema(__generator))
    });
    quote! {
        fn schemas(
            __generator: &mut ::diptych::__private::schemars::SchemaGenerator,
        ) -> ::std::vec::Vec<::diptych::__private::schemars::Schema> {
            ::std::vec![#(#schemas),*]
        }
    }
}

/// The function that finds the type of a value among the constants of its trait.
pub(crate) fn type_of(variants: &[Named<'_>], function: &TokenStream, types: &TokenStream) -> TokenStream {
    let arms = variants.iter().enumerate().map(|(index, (variant, _))| {
        let pattern = variant.pattern();
        quote!(#pattern => #types[#index],)
    });
    let body = matched(variants.is_empty(), &quote!(#(#arms)*));
    quote!(#function { #body })
}

/// `match self { arms }`, which an enum without variants needs by value.
pub(crate) fn matched(empty: bool, arms: &TokenStream) -> TokenStream {
    if empty { quote!(match *self {}) } else { quote!(match self { #arms }) }
}
