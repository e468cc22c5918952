//! The code of a checked read model.

use super::column::RangeMax;
use super::declaration::{self, Contract, Intended};
use super::{Column, Model};
use crate::{names, shape};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Type;
use syn::spanned::Spanned;

impl Model<'_> {
    /// Everything, to be enclosed.
    pub(super) fn generate(&self) -> TokenStream {
        let name = self.name;
        let constants = self.constants();
        let (schema, key, rows) = (self.schema(), self.key(), self.rows());
        let (computed, json_schema) = (self.computed(), self.json_schema());
        let (siblings, reads, order) = (self.siblings(), self.reads(), self.order());
        let helpers = self.columns.iter().any(|column| column.json).then(helpers);
        quote! {
            #helpers

            impl #name { #(#constants)* }

            impl ::diptych::__private::query::ReadModel for #name {
                #schema
                #key
                #rows
                #computed
                #json_schema
                #siblings
            }

            #(#reads)*
            #order
        }
    }

    /// The promise that it looks rows up in no circle, if its siblings do not.
    fn order(&self) -> TokenStream {
        let name = self.name;
        let siblings = self.declaration.reads.iter().map(
            |sibling| quote_spanned!(sibling.span()=> #sibling: ::diptych::__private::query::NoCircularReads),
        );
        quote! {
            impl ::diptych::__private::query::NoCircularReads for #name where #(#siblings),* {}
        }
    }

    /// Adds the siblings to a group, in the order of the declaration.
    fn siblings(&self) -> Option<TokenStream> {
        let siblings = &self.declaration.reads;
        (!siblings.is_empty()).then(|| {
            quote! {
                fn siblings(__tables: &mut ::diptych::__private::query::Tables) {
                    #(__tables.add::<#siblings>();)*
                }
            }
        })
    }

    /// The permission to look rows up in each sibling.
    fn reads(&self) -> impl Iterator<Item = TokenStream> {
        let name = self.name;
        self.declaration.reads.iter().map(move |sibling| {
            quote_spanned!(sibling.span()=>
                impl ::diptych::__private::query::Reads<#sibling> for #name {}
            )
        })
    }

    /// One constant for each key, filter and sort.
    fn constants(&self) -> Vec<TokenStream> {
        let visibility = self.visibility;
        let named =
            self.columns.iter().enumerate().filter(|(_, column)| column.key || column.filter || column.sort);
        let constants = named.map(|(index, column)| {
            let ident = &column.field.ident;
            let constant = Ident::new(&names::screaming(&ident.to_string()), ident.span());
            let held = shape::inside_option(&column.field.ty).unwrap_or(&column.field.ty);
            let (filter, sort) = (column.key || column.filter, column.key || column.sort);
            let doc = format!("The column `{}`.", column.sql);
            quote_spanned! {held.span()=>
                #[doc = #doc]
                #[allow(private_interfaces)]
                #visibility const #constant:
                    ::diptych::__private::query::Column<Self, #held, #filter, #sort> =
                    ::diptych::__private::query::Column::at(#index);
            }
        });
        constants.collect()
    }

    fn schema(&self) -> TokenStream {
        let Self { meaning, key, .. } = self;
        let declaration::Declaration { name, path, revision, about, pending, source, .. } = &self.declaration;
        let storage = if self.declaration.document { "Document" } else { "Columns" };
        let storage = Ident::new(storage, Span::call_site());
        let columns = self.columns.iter().map(column_spec);
        let indexes = self.indexes.iter().map(|columns| {
            let columns = columns.iter().copied().map(sorted);
            quote!(::diptych::__private::query::IndexSpec { columns: &[#(#columns),*] })
        });
        let default_sort = match self.default_sort.map(sorted) {
            Some(sorted) => quote!(::core::option::Option::Some(#sorted)),
            None => quote!(::core::option::Option::None),
        };
        let computed = self.computed.iter().map(|column| {
            let (public, ty) = (&column.public, &column.ty);
            quote_spanned! {ty.span()=>
                ::diptych::__private::query::ComputedSpec {
                    public: #public,
                    value_type: <#ty as ::diptych::__private::core::Portable>::TYPE,
                    nullable: <#ty as ::diptych::__private::core::Portable>::NULLABLE,
                }
            }
        });
        let mode = Ident::new(self.declaration.mode, Span::call_site());
        let tenants = Ident::new(self.declaration.tenants, Span::call_site());
        let partitions = self.declaration.partitions;
        let contract = contract(&self.declaration.contract);
        let upkeep = self.upkeep();
        let governance = self.declaration.governance.iter().map(|(field, text)| quote!(#field: #text));
        let reads = self.declaration.reads.iter().map(|sibling| {
            quote_spanned!(sibling.span()=>
                <#sibling as ::diptych::__private::query::ReadModel>::SCHEMA
            )
        });
        quote! {
            const SCHEMA: &'static ::diptych::__private::query::Schema =
                &::diptych::__private::query::Schema {
                name: #name,
                path: #path,
                revision: #revision,
                meaning: #meaning,
                columns: &[#(#columns),*],
                key: &[#(#key),*],
                indexes: &[#(#indexes),*],
                default_sort: #default_sort,
                computed: &[#(#computed),*],
                reads: &[#(#reads),*],
                mode: ::diptych::__private::query::Mode::#mode,
                partitions: #partitions,
                contract: #contract,
                tenants: ::diptych::__private::query::Tenants::#tenants,
                about: #about,
                pending: #pending,
                storage: ::diptych::__private::query::Storage::#storage,
                source: #source,
                upkeep: #upkeep,
                governance: ::diptych::__private::query::Governance {
                    #(#governance,)*
                    ..::diptych::__private::query::Governance::NONE
                },
            };
        }
    }

    /// How it is kept right, where that is declared.
    fn upkeep(&self) -> TokenStream {
        let upkeep = self.declaration.upkeep.iter().map(|(field, value)| quote!(#field: #value));
        let intended = self.declaration.intended.iter().map(|intended| {
            let Intended { columns, rows_added, rows_removed, .. } = intended;
            quote! {
                intended: ::diptych::__private::query::Intended {
                    columns: &[#(#columns),*],
                    rows_added: #rows_added,
                    rows_removed: #rows_removed,
                }
            }
        });
        quote! {
            ::diptych::__private::query::Upkeep {
                #(#upkeep,)*
                #(#intended,)*
                ..::diptych::__private::query::Upkeep::DEFAULT
            }
        }
    }

    /// The key: the field's type, or a tuple in the order of the fields.
    fn key(&self) -> TokenStream {
        let columns: Vec<&Column> = self.key.iter().map(|index| &self.columns[*index]).collect();
        let types: Vec<&Type> = columns.iter().map(|column| &column.field.ty).collect();
        let fields: Vec<&Ident> = columns.iter().map(|column| &column.field.ident).collect();
        let held: Vec<Ident> = (0..columns.len()).map(|index| format_ident!("__held_{index}")).collect();
        let single = columns.len() == 1;
        let (key, clone, pattern) = if single {
            (quote!(#(#types)*), quote!(#(::core::clone::Clone::clone(&self.#fields))*), quote!(#(#held)*))
        } else {
            (
                quote!((#(#types),*)),
                quote!((#(::core::clone::Clone::clone(&self.#fields)),*)),
                quote!((#(#held),*)),
            )
        };
        let to = columns.iter().zip(&held).map(|(column, held)| to_value(column, &quote!(#held)));
        let from: Vec<_> =
            columns.iter().zip(&held).map(|(column, held)| self.read_value(column, held)).collect();
        let read = if single { quote!(#(#from)*) } else { quote!(::core::result::Result::Ok((#(#from?),*))) };
        let wrong = self.wrong_count("key");
        quote! {
            type Key = #key;

            fn key(&self) -> Self::Key {
                #clone
            }

            fn has_key(&self, key: &Self::Key) -> bool {
                let #pattern = key;
                true #(&& *#held == self.#fields)*
            }

            fn key_values(key: &Self::Key) -> ::std::vec::Vec<::diptych::__private::core::Value> {
                let #pattern = key;
                ::std::vec![#(#to),*]
            }

            fn key_from_values(
                values: &[::diptych::__private::core::Value],
            ) -> ::core::result::Result<Self::Key, ::diptych::__private::core::DecodeError> {
                let [#(#held),*] = values else { #wrong };
                #read
            }
        }
    }

    fn rows(&self) -> TokenStream {
        let held: Vec<Ident> = (0..self.columns.len()).map(|index| format_ident!("__held_{index}")).collect();
        let to = self.columns.iter().map(|column| {
            let ident = &column.field.ident;
            to_value(column, &quote!(&self.#ident))
        });
        let into = self.columns.iter().map(into_value);
        let at = self.columns.iter().enumerate().map(|(index, column)| {
            let ident = &column.field.ident;
            let value = to_value(column, &quote!(&self.#ident));
            quote!(#index => #value,)
        });
        let from = self.columns.iter().zip(&held).map(|(column, held)| {
            let ident = &column.field.ident;
            let read = self.read_value(column, held);
            quote!(#ident: #read?)
        });
        let wrong = self.wrong_count("row");
        quote! {
            fn to_row(&self) -> ::std::vec::Vec<::diptych::__private::core::Value> {
                ::std::vec![#(#to),*]
            }

            fn into_row(self) -> ::std::vec::Vec<::diptych::__private::core::Value> {
                ::std::vec![#(#into),*]
            }

            fn value_at(&self, __column: usize) -> ::diptych::__private::core::Value {
                match __column {
                    #(#at)*
                    _ => ::diptych::__private::core::Value::Null,
                }
            }

            fn from_row(
                values: &[::diptych::__private::core::Value],
            ) -> ::core::result::Result<Self, ::diptych::__private::core::DecodeError> {
                let [#(#held),*] = values else { #wrong };
                ::core::result::Result::Ok(Self { #(#from),* })
            }
        }
    }

    fn computed(&self) -> Option<TokenStream> {
        if self.computed.is_empty() {
            return None;
        }
        let values = self.computed.iter().map(|column| {
            let (ty, function) = (&column.ty, &column.function);
            let call = quote_spanned!(function.span()=> (#function)(self, __now));
            quote_spanned! {ty.span()=> {
                let __value: #ty = #call;
                <#ty as ::diptych::__private::core::Portable>::to_value(&__value)
            }}
        });
        Some(quote! {
            fn computed(
                &self,
                __now: ::diptych::__private::core::Timestamp,
            ) -> ::std::vec::Vec<::diptych::__private::core::Value> {
                ::std::vec![#(#values),*]
            }
        })
    }

    fn json_schema(&self) -> Option<TokenStream> {
        let structured = self.columns.iter().enumerate().filter(|(_, column)| column.json);
        let arms: Vec<_> = structured
            .map(|(index, column)| {
                let ty = &column.field.ty;
                quote!(#index => ::core::option::Option::Some(__generator.subschema_for::<#ty>()),)
            })
            .collect();
        (!arms.is_empty()).then(|| {
            quote! {
                fn json_schema(
                    __column: usize,
                    __generator: &mut ::diptych::__private::schemars::SchemaGenerator,
                ) -> ::core::option::Option<::diptych::__private::schemars::Schema> {
                    match __column {
                        #(#arms)*
                        _ => ::core::option::Option::None,
                    }
                }
            }
        })
    }

    /// Reads one value, naming the column in an error.
    fn read_value(&self, column: &Column, held: &Ident) -> TokenStream {
        let ty = &column.field.ty;
        let what = format!("{}.{}", self.declaration.name, column.sql);
        let read = if column.json {
            quote!(__from_json::<#ty>(#held))
        } else {
            quote_spanned!(ty.span()=> <#ty as ::diptych::__private::core::Portable>::from_value(#held))
        };
        quote!(#read.map_err(|error| ::diptych::__private::core::DecodeError::malformed(#what, &error)))
    }

    /// Leaves with an error about the number of values.
    fn wrong_count(&self, what: &str) -> TokenStream {
        let name = &self.declaration.name;
        let reason = format!("a {what} has another number of values");
        quote! {
            return ::core::result::Result::Err(
                ::diptych::__private::core::DecodeError::malformed(#name, &#reason),
            )
        }
    }
}

fn column_spec(column: &Column) -> TokenStream {
    let Column { sql, public, meaning, field, .. } = column;
    let ty = &field.ty;
    let (filter, sort) = (column.key || column.filter, column.key || column.sort);
    let sensitivity = Ident::new(column.sensitivity, Span::call_site());
    let facets = facets(column);
    let shape = if column.json {
        quote! {
            value_type: ::diptych::__private::core::ValueType::Json,
            nullable: false,
            choices: &[],
            ranked: false,
        }
    } else {
        quote_spanned! {ty.span()=>
            value_type: <#ty as ::diptych::__private::core::Portable>::TYPE,
            nullable: <#ty as ::diptych::__private::core::Portable>::NULLABLE,
            choices: <#ty as ::diptych::__private::core::Portable>::CHOICES,
            ranked: <#ty as ::diptych::__private::core::Portable>::RANKED,
        }
    };
    quote! {
        ::diptych::__private::query::ColumnSpec {
            name: #sql,
            public: #public,
            #shape
            filter: #filter,
            sort: #sort,
            sensitivity: ::diptych::__private::query::Sensitivity::#sensitivity,
            facets: #facets,
            meaning: #meaning,
        }
    }
}

/// In which further ways the column takes part in questions and answers. What cannot be is refused where the
/// declaration is compiled: the type is not known here.
fn facets(column: &Column) -> TokenStream {
    let ty = &column.field.ty;
    let full_text = column.full_text;
    let withheld = if column.absent { quote!(Absent) } else { quote!(Masked) };
    let (range_max, needed) = match column.range_max {
        None => (quote!(::core::option::Option::None), None),
        Some(RangeMax::Number(number)) => {
            (quote!(::core::option::Option::Some(#number)), Some((quote!(Integer), "a whole number")))
        }
        Some(RangeMax::Micros(micros)) => {
            (quote!(::core::option::Option::Some(#micros)), Some((quote!(Timestamp), "a time")))
        }
    };
    let text = full_text.then(|| (quote!(Text), "a text"));
    let checks = needed.into_iter().chain(text).map(|(variant, words)| {
        let message = format!("`{}` is not {words}, as its declaration needs", column.sql);
        quote_spanned! {ty.span()=>
            ::core::assert!(
                ::core::matches!(
                    <#ty as ::diptych::__private::core::Portable>::TYPE,
                    ::diptych::__private::core::ValueType::#variant
                ),
                #message
            );
        }
    });
    quote! {
        {
            #(#checks)*
            ::diptych::__private::query::Facets {
                full_text: #full_text,
                withheld: ::diptych::__private::query::Withheld::#withheld,
                range_max: #range_max,
            }
        }
    }
}

fn to_value(column: &Column, held: &TokenStream) -> TokenStream {
    let ty = &column.field.ty;
    if column.json {
        return quote!(__to_json(#held));
    }
    quote_spanned!(ty.span()=> <#ty as ::diptych::__private::core::Portable>::to_value(#held))
}

/// The value of a column of `self`, which is used up.
fn into_value(column: &Column) -> TokenStream {
    let (ident, ty) = (&column.field.ident, &column.field.ty);
    if column.json {
        return quote!(__to_json(&self.#ident));
    }
    quote_spanned!(ty.span()=> <#ty as ::diptych::__private::core::Portable>::into_value(self.#ident))
}

fn sorted((column, descending): (usize, bool)) -> TokenStream {
    let direction = if descending { quote!(Descending) } else { quote!(Ascending) };
    quote!((#column, ::diptych::__private::query::Direction::#direction))
}

fn contract(contract: &Contract) -> TokenStream {
    match contract {
        Contract::Strong => quote!(::diptych::__private::query::Contract::Strong),
        Contract::Eventual => quote!(::diptych::__private::query::Contract::Eventual),
        Contract::Bounded { millis, refuse } => {
            let breach = if *refuse { quote!(Refuse) } else { quote!(Flag) };
            quote! {
                ::diptych::__private::query::Contract::Bounded {
                    within: ::core::time::Duration::from_millis(#millis),
                    breach: ::diptych::__private::query::Breach::#breach,
                }
            }
        }
    }
}

/// What structured columns share. Such a column is the JSON text of its value; a value that does not
/// serialize is a defect of the projection that made it, so it panics like any other.
fn helpers() -> TokenStream {
    quote! {
        fn __to_json<T: ::diptych::__private::serde::Serialize>(
            value: &T,
        ) -> ::diptych::__private::core::Value {
            let text = ::diptych::__private::serde_json::to_string(value);
            ::diptych::__private::core::Value::Json(text.expect("a structured column serializes"))
        }

        fn __from_json<T: ::diptych::__private::serde::de::DeserializeOwned>(
            value: &::diptych::__private::core::Value,
        ) -> ::core::result::Result<T, ::diptych::__private::core::DecodeError> {
            match value {
                ::diptych::__private::core::Value::Json(text) => {
                    ::diptych::__private::serde_json::from_str(text)
                        .map_err(|error| ::diptych::__private::core::DecodeError::malformed("column", &error))
                }
                other => ::core::result::Result::Err(::diptych::__private::core::DecodeError::malformed(
                    "column",
                    &::std::format!("expected Json, met {other:?}"),
                )),
            }
        }
    }
}
