//! Actions on builds: one beside the one that answers, compared, switched, taken back, retired, deprecated.

use super::{Action, ActionPlan, Came};
use crate::actions::group_of;
use crate::words::bytes_in_words;
use crate::{ActionError, Operator};
use diptych_projector::{Differing, Gate, Rebuild, RebuildOrder, RebuildStep, Switching};
use diptych_query::{Build, BuildId, Group, Notice, Order, Stage, own_build};
use std::sync::Arc;

/// How many rebuilds that are over are looked at for a rate.
const REBUILDS_LOOKED_AT: usize = 100;

/// What is known of a group before something is done to it.
struct Known<'a> {
    group: &'a Arc<Group>,
    builds: Vec<Build>,
    rebuild: Option<Rebuild>,
}

impl Known<'_> {
    fn own(&self) -> Option<&Build> {
        own_build(&self.builds, self.group.revision())
    }

    /// The build that retiring means where none is named.
    fn to_retire(&self) -> Option<BuildId> {
        let old = self.rebuild.as_ref().filter(|rebuild| rebuild.step == RebuildStep::Switched);
        let deprecated = self.own().filter(|own| own.stage == Stage::Deprecated);
        old.and_then(|rebuild| rebuild.from).or_else(|| deprecated.map(|own| own.id))
    }
}

async fn known<'a>(operator: &'a Operator<'_>, name: &str) -> Result<Known<'a>, ActionError> {
    let group = group_of(operator, name)?;
    let builds = operator.projector.builds(group.name()).await?;
    let rebuild = operator.projector.rebuild_of(group.name()).await?;
    Ok(Known { group, builds, rebuild })
}

/// The verbs that make sense where a rebuild stands.
fn legal(step: RebuildStep) -> Vec<&'static str> {
    use RebuildStep::{
        Blocked, Building, Cancelled, CatchingUp, Comparing, Failed, Finished, Paused, Ready, RolledBack,
        Shadowing, Switched,
    };
    match step {
        Building | CatchingUp => vec!["pause", "cancel"],
        Shadowing | Comparing => vec!["pause", "cancel", "switch"],
        Ready | Blocked | RolledBack => vec!["compare", "switch", "pause", "cancel"],
        Switched => vec!["rollback", "retire"],
        Paused | Failed => vec!["resume", "cancel"],
        Finished | Cancelled => vec!["rebuild"],
    }
}

pub(super) async fn plan(action: &Action, operator: &Operator<'_>) -> Result<ActionPlan, ActionError> {
    let plan = ActionPlan::of(action);
    Ok(match action {
        Action::Rebuild { group, intended, switching, filled_from } => {
            let source = filled_from.as_deref();
            plan_rebuild(plan, operator, &known(operator, group).await?, (intended, source), *switching)
                .await?
        }
        Action::Deprecate { group, announced } => {
            let known = known(operator, group).await?;
            let plan =
                plan.step("say `Deprecation` and, where given, `Sunset` and the successor with every answer");
            let plan = plan.step("go on answering");
            let plan = match &announced.sunset {
                Some(sunset) => plan.affects(format!("callers, who have until {}", sunset.date())),
                None => plan.affects("callers, who are told no date"),
            };
            refuse_move(plan, &known, Stage::Deprecated)
        }
        Action::Reinstate { group } => {
            let known = known(operator, group).await?;
            let plan = plan.step("take back what was announced");
            match known.own().map(|own| own.stage) {
                Some(Stage::Deprecated) => plan,
                _ => plan.refuse("it is not deprecated", ["deprecate"]),
            }
        }
        Action::Retire { group, build } => {
            plan_retire(plan, operator, &known(operator, group).await?, *build).await?
        }
        Action::Resume { group } => {
            let known = known(operator, group).await?;
            let stands =
                known.rebuild.as_ref().is_some_and(|rebuild| legal(rebuild.step).contains(&"resume"));
            let notice = Notice::of(operator.registry, known.group.name()).await?;
            match (stands, notice.suspended) {
                (true, _) => plan_order(plan, &known),
                (false, Some(_)) => plan.step("answer questions again"),
                (false, None) => plan_order(plan, &known),
            }
        }
        Action::Pause { group }
        | Action::Cancel { group }
        | Action::Compare { group }
        | Action::Switch { group, .. }
        | Action::Rollback { group } => {
            let known = known(operator, group).await?;
            let plan = plan_order(plan, &known);
            match (action, &known.rebuild) {
                (Action::Switch { gate: Gate::Forced, .. }, Some(_)) => {
                    plan.affects("FORCED: differences that were not declared do not stand against it")
                }
                _ => plan,
            }
        }
        _ => plan,
    })
}

async fn plan_rebuild(
    plan: ActionPlan,
    operator: &Operator<'_>,
    known: &Known<'_>,
    (intended, filled_from): (&Differing, Option<&str>),
    switching: Switching,
) -> Result<ActionPlan, ActionError> {
    let group = known.group;
    if let Some(rebuild) = &known.rebuild {
        let reason = format!("a rebuild is under way already: build {} is {}", rebuild.to, rebuild.step);
        return Ok(plan.refuse(reason, legal(rebuild.step)));
    }
    let Some(own) = known.own().filter(|own| own.stage.answers()) else {
        return Ok(plan.refuse("no build of this revision answers yet, so there is nothing to rebuild", []));
    };
    let head = operator.log.head.position();
    let differ = match intended.to_string() {
        nothing if nothing.is_empty() => "nothing beyond what its declaration says".to_owned(),
        words => words,
    };
    let last = match switching {
        Switching::Automatic => "let it answer, in one transaction, if nothing differs that was not declared",
        Switching::Ordered => "wait for `switch`, if nothing differs that was not declared",
    };
    let old = own.id;
    let filled = match filled_from {
        None => format!("fold {head} events of the log into it"),
        Some(path) => format!("fold the events of `{path}` into it, once every byte of that was looked at"),
    };
    let mut plan = plan
        .step(format!("begin a build beside {old}, which answers meanwhile"))
        .step(filled)
        .step(format!("follow the log, and compare it with {old}; it may differ in: {differ}"))
        .step(last)
        .step(format!("keep {old} following until the rollback window is over, then retire it"));
    let done = operator.projector.rebuilds_done(REBUILDS_LOOKED_AT).await?;
    let rates =
        done.iter().filter(|done| done.group == group.name()).map(|done| done.measured.events_per_second);
    plan.about_seconds = rates.into_iter().find(|rate| *rate > 0.0).map(|rate| head.0 as f64 / rate);
    let bytes = operator.registry.build_bytes(group, old).await?;
    for model in group.models() {
        let rows = operator.projector.row_count(group, model.schema()).await?;
        plan = plan.affects(format!("{} ({rows} rows)", model.schema().name));
    }
    plan = plan.affects(format!("disk: about {} more until the end", bytes_in_words(bytes)));
    Ok(match own.stage {
        Stage::Rebuilding => plan,
        _ => refuse_move(plan, known, Stage::Rebuilding),
    })
}

async fn plan_retire(
    plan: ActionPlan,
    operator: &Operator<'_>,
    known: &Known<'_>,
    build: Option<BuildId>,
) -> Result<ActionPlan, ActionError> {
    let Some(id) = build.or_else(|| known.to_retire()) else {
        return Ok(plan
            .refuse("no build waits to be retired: name one, or deprecate the model first", ["deprecate"]));
    };
    let Some(held) = known.builds.iter().find(|held| held.id == id) else {
        return Ok(plan.refuse(format!("there is no build {id}"), []));
    };
    let bytes = operator.registry.build_bytes(known.group, id).await?;
    let mut plan = plan.step(format!("move build {id} from {} to retired", held.stage));
    plan = plan.step(format!("remove its tables, {}", bytes_in_words(bytes)));
    if held.stage.answers() {
        plan = plan.step("answer 410 from then on, with the successor that was announced");
        plan = plan.affects("every caller of the model");
    } else {
        plan = plan.affects("nobody who asks; a rollback to it is no longer possible");
    }
    Ok(match held.stage.check(Stage::Retired) {
        Ok(()) => plan,
        Err(illegal) => plan.refuse(illegal.to_string(), verbs_from(held.stage)),
    })
}

/// The verbs by which a build leaves a stage.
fn verbs_from(stage: Stage) -> Vec<&'static str> {
    let verb = |to: &Stage| match (stage, to) {
        (Stage::Deprecated, Stage::Serving) => "reinstate",
        (Stage::Rebuilding, Stage::Serving) => "cancel",
        (_, Stage::Serving | Stage::Shadowing) => "switch",
        (_, Stage::Deprecated) => "deprecate",
        (_, Stage::Retired) => "retire",
        (_, Stage::Rebuilding | Stage::Designed | Stage::Building) => "rebuild",
    };
    stage.next().iter().map(verb).collect()
}

/// An order about a rebuild that is under way.
fn plan_order(plan: ActionPlan, known: &Known<'_>) -> ActionPlan {
    let Some(rebuild) = &known.rebuild else {
        return plan.refuse("no rebuild is under way", ["rebuild"]);
    };
    let Rebuild { to, from, step, .. } = rebuild;
    let from = from.map_or_else(|| "none".to_owned(), |from| from.to_string());
    let (verb, steps) = match plan.action {
        "pause" => {
            ("pause", vec![format!("let build {to} stand still where it is; {from} goes on answering")])
        }
        "resume" => ("resume", vec![format!("let build {to} go on from where it stands")]),
        "cancel" => {
            ("cancel", vec![format!("retire build {to} and remove its tables; {from} goes on answering")])
        }
        "compare" => {
            ("compare", vec![format!("compare rows, digests, keys and questions of {from} and {to}")])
        }
        "switch" => (
            "switch",
            vec![
                format!("compare {from} and {to} at one position"),
                format!("let {to} answer and {from} follow, in one transaction"),
            ],
        ),
        _ => ("rollback", vec![format!("let {from} answer again and {to} follow, in one transaction")]),
    };
    let plan = steps.into_iter().fold(plan, ActionPlan::step);
    if legal(*step).contains(&verb) {
        return plan;
    }
    plan.refuse(format!("the rebuild is {step}"), legal(*step))
}

fn refuse_move(plan: ActionPlan, known: &Known<'_>, to: Stage) -> ActionPlan {
    let Some(own) = known.own() else {
        return plan.refuse("no build of this revision is there", []);
    };
    match own.stage.check(to) {
        Ok(()) => plan,
        Err(illegal) => plan.refuse(illegal.to_string(), verbs_from(own.stage)),
    }
}

pub(super) async fn apply(
    action: &Action,
    operator: &Operator<'_>,
    order: Order,
) -> Result<Came, ActionError> {
    let projector = operator.projector;
    Ok(match action {
        Action::Rebuild { group, intended, switching, filled_from } => {
            let (intended, filled_from) = (intended.clone(), filled_from.clone());
            let order = RebuildOrder { order, intended, switching: *switching, filled_from };
            let rebuild = projector.rebuild(group_of(operator, group)?.name(), order).await?;
            Came::to(format!("build {} is begun", rebuild.to)).with(&rebuild)
        }
        Action::Pause { group } => stands(&projector.pause(group, order).await?),
        Action::Cancel { group } => {
            let rebuild = projector.cancel(group, order).await?;
            Came::to(format!("build {} is gone", rebuild.to)).with(&rebuild)
        }
        Action::Resume { group } => {
            let rebuild = projector.rebuild_of(group).await?;
            if rebuild.is_some_and(|rebuild| legal(rebuild.step).contains(&"resume")) {
                stands(&projector.resume(group, order).await?)
            } else {
                projector.resume_serving(group, &order).await?;
                Came::to("it answers again")
            }
        }
        Action::Compare { group } => {
            let report = projector.compare(group, order).await?;
            let blocked = !report.is_clean();
            let outcome = if blocked { "the switch is blocked" } else { "nothing stands against the switch" };
            Came { blocked, text: report.to_string(), ..Came::to(outcome).with(&report) }
        }
        Action::Switch { group, gate } => switched(&projector.switch(group, order, *gate).await?),
        Action::Rollback { group } => {
            let rebuild = projector.rollback(group, order).await?;
            let from = rebuild.from.map_or_else(|| "no build".to_owned(), |from| from.to_string());
            Came::to(format!("{from} answers again, {} follows", rebuild.to)).with(&rebuild)
        }
        Action::Retire { group, build } => {
            let known = known(operator, group).await?;
            let Some(build) = build.or_else(|| known.to_retire()) else {
                return Err(ActionError::Argument { reason: "no build waits to be retired".to_owned() });
            };
            projector.retire(group, build, order).await?;
            Came::to(format!("build {build} is retired and its tables are gone"))
        }
        Action::Deprecate { group, announced } => {
            projector.deprecate(group, order, announced.clone()).await?;
            Came::to(match announced.sunset {
                Some(sunset) => format!("deprecated until {}", sunset.date()),
                None => "deprecated, until a day that is not set yet".to_owned(),
            })
        }
        Action::Reinstate { group } => {
            projector.reinstate(group, order).await?;
            Came::to("it serves as before")
        }
        other => {
            return Err(ActionError::Argument {
                reason: format!("`{}` is no action on builds", other.name()),
            });
        }
    })
}

fn stands(rebuild: &Rebuild) -> Came {
    Came::to(format!("the rebuild is {}", rebuild.step)).with(rebuild)
}

fn switched(rebuild: &Rebuild) -> Came {
    Came::to(format!("build {} answers", rebuild.to)).with(rebuild)
}
