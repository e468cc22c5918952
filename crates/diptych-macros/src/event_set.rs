//! `#[derive(EventSet)]`: several event languages as one, told apart by category.

use crate::{attributes, shape};
use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, Error, Fields, Ident, Result, Type};

/// One language of a set.
struct Member<'a> {
    variant: &'a Ident,
    language: &'a Type,
    /// Whether types that the language does not know are passed over here.
    ignoring: bool,
}

/// Derives a set on an enum with one language in each variant.
pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    shape::refuse_generics(input, "EventSet")?;
    let data = shape::enum_data(input, "EventSet")?;
    let members: Vec<Member<'_>> = data.variants.iter().map(member).collect::<Result<_>>()?;
    if members.is_empty() {
        let message = "an `EventSet` needs a variant for each of its event languages";
        return Err(Error::new(input.ident.span(), message));
    }
    let name = &input.ident;
    let categories = members.iter().map(|Member { language, .. }| {
        quote_spanned!(language.span()=> <#language as ::diptych::__private::core::Event>::CATEGORY)
    });
    let languages = members.iter().map(|Member { language, ignoring, .. }| {
        let ignoring = ignoring.then(|| quote!(.ignoring()));
        quote!(<#language as ::diptych::__private::core::Event>::LANGUAGE #ignoring)
    });
    let arms = members.iter().map(Member::decode_arm);
    let distinct = distinct(name);
    Ok(shape::enclosed(&quote! {
        impl ::diptych::__private::core::EventSet for #name {
            const CATEGORIES: &'static [&'static str] = &[#(#categories),*];
            const LANGUAGES: &'static [::diptych::__private::core::Language] = &[#(#languages),*];

            fn decode_in(
                __category: &str,
                __name: &str,
                __version: u32,
                __payload: &str,
            ) -> ::core::result::Result<
                ::core::option::Option<Self>,
                ::diptych::__private::core::DecodeError,
            > {
                #(#arms)*
                ::core::result::Result::Err(::diptych::__private::core::DecodeError::foreign(__category))
            }
        }

        #distinct
    }))
}

impl Member<'_> {
    fn decode_arm(&self) -> TokenStream {
        let Self { variant, language, ignoring } = self;
        let ignored = ignoring.then(|| {
            quote! {
                ::core::result::Result::Err(
                    ::diptych::__private::core::DecodeError::UnknownType { .. },
                ) => ::core::result::Result::Ok(::core::option::Option::None),
            }
        });
        quote! {
            if __category == <#language as ::diptych::__private::core::Event>::CATEGORY {
                return match <#language as ::diptych::__private::core::Event>::decode(
                    __name, __version, __payload,
                ) {
                    ::core::result::Result::Ok(__event) => {
                        ::core::result::Result::Ok(__event.map(Self::#variant))
                    }
                    #ignored
                    ::core::result::Result::Err(__error) => ::core::result::Result::Err(__error),
                };
            }
        }
    }
}

fn member(variant: &syn::Variant) -> Result<Member<'_>> {
    let mut ignoring = false;
    attributes::read_entries(&variant.attrs, "event", "unknown", |name, entry| {
        if name != "unknown" {
            return Ok(false);
        }
        ignoring = attributes::ignores_unknown(entry)?;
        Ok(true)
    })?;
    let message = || {
        let name = &variant.ident;
        format!("a variant of an `EventSet` holds one event language: write `{name}({name}Event)`")
    };
    match &variant.fields {
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
            Ok(Member { variant: &variant.ident, language: &fields.unnamed[0].ty, ignoring })
        }
        _ => Err(Error::new_spanned(variant, message())),
    }
}

/// Two languages of one category could not be told apart: refused while compiling.
fn distinct(name: &Ident) -> TokenStream {
    quote_spanned! {name.span()=>
        const fn __same(left: &str, right: &str) -> bool {
            let (left, right) = (left.as_bytes(), right.as_bytes());
            if left.len() != right.len() {
                return false;
            }
            let mut index = 0;
            while index < left.len() {
                if left[index] != right[index] {
                    return false;
                }
                index += 1;
            }
            true
        }

        const _: () = {
            let categories = <#name as ::diptych::__private::core::EventSet>::CATEGORIES;
            let mut first = 0;
            while first < categories.len() {
                let mut second = first + 1;
                while second < categories.len() {
                    ::core::assert!(
                        !__same(categories[first], categories[second]),
                        "two languages of this event set have the same category"
                    );
                    second += 1;
                }
                first += 1;
            }
        };
    }
}
