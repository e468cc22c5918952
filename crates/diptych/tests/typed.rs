//! A typed command and the same command in bytes are one command: the same key, the same refusals, the same
//! state.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use diptych::command::{HandleError, RawCommand, RawReceipt, Refusal};
use diptych::prelude::*;
use support::Folder;

#[derive(Id)]
struct NoteId(String);

#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "note", owner = "desk")]
enum NoteEvent {
    Written { text: String },
    Titled { title: String },
}

#[derive(Clone, Debug, PartialEq, Command)]
#[command(text_bytes_max = 5000)]
enum NoteCommand {
    Write { text: String },
    Title { title: String },
}

#[derive(Clone, Debug, PartialEq, Rejection)]
enum NoteRejection {
    #[reject("there is nothing to entitle")]
    NothingWritten,
}

#[derive(Default, Data)]
struct Note {
    text: String,
    title: String,
}

impl Decider for Note {
    type Command = NoteCommand;
    type Event = NoteEvent;
    type Rejection = NoteRejection;

    fn decide(&self, command: NoteCommand, _: &Context) -> Result<Vec<NoteEvent>, NoteRejection> {
        match command {
            NoteCommand::Write { text } => Ok(vec![NoteEvent::Written { text }]),
            NoteCommand::Title { .. } if self.text.is_empty() => Err(NoteRejection::NothingWritten),
            NoteCommand::Title { title } => Ok(vec![NoteEvent::Titled { title }]),
        }
    }

    fn evolve(self, event: &NoteEvent) -> Self {
        match event {
            NoteEvent::Written { text } => Self { text: text.clone(), ..self },
            NoteEvent::Titled { title } => Self { title: title.clone(), ..self },
        }
    }
}

async fn open(folder: &Folder) -> Running {
    let service = Service::new("desk").decider::<Note>();
    service.open(Config::at(folder.path())).await.expect("a folder of its own")
}

fn write(text: &str) -> NoteCommand {
    NoteCommand::Write { text: text.to_owned() }
}

async fn typed(
    running: &Running,
    id: &str,
    command: NoteCommand,
) -> Result<Receipt<NoteEvent>, HandleError<NoteRejection>> {
    let request = Request::by(running.principal()).to(&NoteId::new("n1"), command).command_id(id);
    running.commands().handle::<Note>(request).await
}

async fn in_bytes(running: &Running, id: &str, name: &str, body: &str) -> RawReceipt {
    let command = RawCommand { name: name.to_owned(), body: body.to_owned() };
    let request = Request::by(running.principal()).to_raw("note", "n1", command).command_id(id);
    running.commands().handle_raw(request).await.expect("a note takes it")
}

async fn state(running: &Running) -> serde_json::Value {
    let read = running.commands().aggregate(running.principal(), "note", "n1", None).await;
    read.expect("the note can be read").expect("it was written").state
}

#[tokio::test]
async fn a_key_covers_both_ways() {
    let folder = Folder::new();
    let running = open(&folder).await;
    let first = typed(&running, "c1", write("milk")).await.expect("a note takes a text");
    let again = in_bytes(&running, "c1", "Write", r#"{"text":"milk"}"#).await;
    assert!(again.replayed && again.token == first.token);
    let second = in_bytes(&running, "c2", "Title", r#"{"title":"shop"}"#).await;
    let again = typed(&running, "c2", NoteCommand::Title { title: "shop".to_owned() }).await;
    let again = again.expect("the key is claimed by the same command");
    assert!(again.replayed && again.token == second.token);
    assert_eq!(again.events, [NoteEvent::Titled { title: "shop".to_owned() }]);
    let other = typed(&running, "c1", write("bread")).await;
    assert!(matches!(other, Err(HandleError::Refused(Refusal::KeyReused { .. }))), "{other:?}");
}

#[tokio::test]
async fn a_text_that_cannot_be_stored_is_refused_by_its_field() {
    let folder = Folder::new();
    let running = open(&folder).await;
    typed(&running, "c1", write(&"x".repeat(5_000))).await.expect("as long as the language allows");
    for (id, text) in [("c2", "x".repeat(5_001)), ("c3", "a\0b".to_owned())] {
        let refused = typed(&running, id, write(&text)).await;
        let Err(HandleError::Refused(Refusal::Shape(shape))) = refused else { panic!("{refused:?}") };
        assert_eq!(shape.problems.len(), 1, "{shape}");
        assert_eq!(shape.problems[0].field, "text");
    }
}

#[tokio::test]
async fn the_state_at_hand_is_the_one_that_the_log_tells() {
    let folder = Folder::new();
    let running = open(&folder).await;
    let early = typed(&running, "c1", NoteCommand::Title { title: "shop".to_owned() }).await;
    assert!(matches!(early, Err(HandleError::Rejected(NoteRejection::NothingWritten))), "{early:?}");
    let receipt = typed(&running, "c2", write("milk")).await.expect("a note takes a text");
    assert_eq!(receipt.events, [write_event("milk")]);
    in_bytes(&running, "c3", "Title", r#"{"title":"shop"}"#).await;
    let at_hand = state(&running).await;
    running.stop().await.expect("nothing is under way");
    let running = open(&folder).await;
    assert_eq!(state(&running).await, at_hand);
    assert_eq!(at_hand, serde_json::json!({ "text": "milk", "title": "shop" }));
}

fn write_event(text: &str) -> NoteEvent {
    NoteEvent::Written { text: text.to_owned() }
}
