//! Actions on rows: parked keys, repairs, corrections, and taking a read model out of service.

use super::{Action, ActionPlan, Came};
use crate::actions::{find_model, group_of};
use crate::rows_report::{incident_line, parked_line};
use crate::{ActionError, Operator};
use diptych_command::{RawCommand, Request};
use diptych_core::{Principal, Tenant};
use diptych_projector::{Keys, Repair, RetryPlan, RowName};
use diptych_query::{CORRECTION, Correction, Corrections, Notice, Order};

/// The command by which a row is corrected.
const CORRECT: &str = "Correct";

pub(super) async fn plan(action: &Action, operator: &Operator<'_>) -> Result<ActionPlan, ActionError> {
    let plan = ActionPlan::of(action);
    let projector = operator.projector;
    Ok(match action {
        Action::Suspend { group } => {
            let group = group_of(operator, group)?;
            let plan = plan.step("refuse every question with DP0055, in every process, within a second");
            let plan = plan.step("go on following the log");
            let plan = group.models().iter().fold(plan, |plan, model| plan.affects(model.schema().name));
            match Notice::of(operator.registry, group.name()).await?.suspended {
                None => plan,
                Some(held) => plan
                    .refuse(format!("{} has suspended it already: {}", held.actor, held.reason), ["resume"]),
            }
        }
        Action::RetryParked { group, keys } => {
            let RetryPlan { keys, positions, about } =
                projector.plan_retry(group_of(operator, group)?.name(), keys).await?;
            if keys.is_empty() {
                return Ok(plan.refuse("no key is parked", []));
            }
            let count = keys.len();
            let mut plan = plan.step(format!("read {positions} positions of the log, once for all keys"));
            plan = plan.step(format!("fold {count} keys in order, each from the fact that it waits at"));
            plan = plan.step("put those right that can be; the others stay parked where they fail now");
            plan.about_seconds = Some(about.as_secs_f64());
            keys.iter().fold(plan, |plan, parked| plan.affects(parked_line(parked)))
        }
        Action::SkipParked { group, row } => {
            let parked = projector.parked(group_of(operator, group)?.name()).await?;
            let Some(held) = parked.iter().find(|held| RowName::of_parked(held) == *row) else {
                return Ok(plan.refuse(format!("row {row} is not parked"), []));
            };
            let (event, position) = (&held.event, held.position);
            let plan = plan.step(format!(
                "pass over `{event}` at position {position} for this row, now and in every later build"
            ));
            plan.step("fold what comes after it for the row").affects(parked_line(held))
        }
        Action::RepairRow { group, what } => {
            group_of(operator, group)?;
            let plan = plan.step("fold the row from the log, exactly up to where its model stands");
            let plan = plan.step("write it, and the digest of its bucket, where they differ");
            match what {
                Repair::Row(row) => plan.affects(row.to_string()),
                Repair::Incident(id) => plan.affects(incident_line(&projector.incident(id).await?)),
            }
        }
        Action::CloseIncident { id } => {
            let incident = projector.incident(id).await?;
            plan.step("note that it is explained; nothing is put right").affects(incident_line(&incident))
        }
        Action::Correct(correction) => plan_correction(plan, operator, correction)?,
        _ => plan,
    })
}

fn plan_correction(
    plan: ActionPlan,
    operator: &Operator<'_>,
    correction: &Correction,
) -> Result<ActionPlan, ActionError> {
    let (model, _) = find_model(operator, &correction.model)?;
    let schema = model.schema();
    let lasting = match schema.upkeep.corrections {
        Corrections::Kept => "keep it in every later build",
        _ => "leave it out of builds that are begun later",
    };
    let set: Vec<_> = correction.set.iter().map(|(column, value)| format!("{column} = {value}")).collect();
    let plan = plan
        .step(format!("record a fact of category `{CORRECTION}`: {}", set.join(", ")))
        .step("fold it into the row, after everything that was recorded before")
        .step(lasting);
    Ok(match correction.check(schema) {
        Ok(_) => plan,
        Err(error) => plan.refuse(error.to_string(), []),
    })
}

pub(super) async fn apply(
    action: &Action,
    operator: &Operator<'_>,
    order: Order,
) -> Result<Came, ActionError> {
    let projector = operator.projector;
    Ok(match action {
        Action::Suspend { group } => {
            projector.suspend(group, &order).await?;
            Came::to("it answers nobody until `resume`")
        }
        Action::RetryParked { group, keys } => {
            let retried = projector.retry_parked(group, keys).await?;
            let (healed, parked) = (retried.healed.len(), retried.parked.len());
            let text: Vec<_> = retried.parked.iter().map(parked_line).collect();
            let blocked = parked > 0 || (healed == 0 && *keys != Keys::All);
            let came = Came::to(format!("{healed} keys are folded, {parked} stay parked"));
            Came { blocked, text: text.join("\n"), ..came }
        }
        Action::SkipParked { group, row } => {
            let (skip, retried) = projector.skip_parked(group, row, &order).await?;
            let rest =
                if retried.parked.is_empty() { "and is folded" } else { "and stays parked at a later one" };
            let outcome = format!("it passes over `{}` at position {}, {rest}", skip.event, skip.position);
            Came { blocked: !retried.parked.is_empty(), ..Came::to(outcome).with(&skip) }
        }
        Action::RepairRow { group, what } => {
            let repaired = projector.repair(group, what, &order).await?;
            let differed = match repaired.differences.len() {
                0 => "it was what the log says".to_owned(),
                1 => "1 difference put right".to_owned(),
                more => format!("{more} differences put right"),
            };
            let resumed = if repaired.resumed { ", and the model moves on" } else { "" };
            Came::to(format!("{differed} at position {}{resumed}", repaired.position))
                .with(&repaired.differences)
        }
        Action::CloseIncident { id } => Came::to("closed").with(&projector.close_incident(id, &order).await?),
        Action::Correct(correction) => correct(operator, correction, &order).await?,
        other => {
            return Err(ActionError::Argument { reason: format!("`{}` is no action on rows", other.name()) });
        }
    })
}

/// Gives the command, on behalf of who orders it: nobody corrects a row in any other way.
async fn correct(
    operator: &Operator<'_>,
    correction: &Correction,
    order: &Order,
) -> Result<Came, ActionError> {
    let (model, _) = find_model(operator, &correction.model)?;
    let correction = Correction {
        model: model.schema().name.to_owned(),
        reason: order.reason.clone(),
        ..correction.clone()
    };
    let body = serde_json::to_string(&correction)
        .map_err(|error| ActionError::Argument { reason: error.to_string() })?;
    let tenant: Tenant = operator.principal.tenant.clone();
    let principal = Principal::named(tenant, order.actor.clone());
    let key = uuid::Uuid::now_v7().to_string();
    let command = RawCommand { name: CORRECT.to_owned(), body };
    let receipt =
        operator.commands.handle_raw(Request::by(&principal).to_raw(CORRECTION, &key, command)).await?;
    Ok(Came::to(format!("recorded at position {}", receipt.token.position)).with(&correction))
}
