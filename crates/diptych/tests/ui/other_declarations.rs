//! Ids, vocabularies, data, commands and rejections that cannot be what they say.
use diptych::prelude::*;

#[derive(Id)]
struct NotText(i64);

#[derive(Id)]
struct Named {
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Scalar)]
enum WithData {
    Open,
    Closed { by: i64 },
}

#[derive(Data)]
enum TagTaken {
    Open { r#type: String },
}

#[derive(Data)]
struct Unnamed(String);

#[derive(Command)]
enum TwoAlike {
    Place,
    #[command(segment = "place")]
    Order,
}

#[derive(Command)]
#[command(text_bytes = 20)]
enum Misspelt {
    Place,
}

#[derive(Debug, Rejection)]
enum Silent {
    #[reject("there is no such order", notfound)]
    OrderNotFound,
    OrderAlreadyCancelled {
        reason: String,
    },
}

#[derive(EventSet)]
enum NotALanguage {
    Order { event: String },
}

#[derive(Command)]
enum ActorTwice {
    #[command(actor = "approvedBy")]
    Approve { approved_by: String },
}

fn main() {}
