//! What answers say of a read model that is not as it should be: incidents, and taking it out of service.

use crate::projector::Followed;
use crate::{ActionTaken, Incident, IncidentStatus, Incidents, Projector, TroubleError};
use diptych_core::{Code, Fault};
use diptych_query::{Notice, Order, Suspension};

impl Projector {
    /// The incidents, the last changed first.
    ///
    /// # Errors
    /// A fault.
    pub async fn incidents(&self, most: usize) -> Result<Vec<Incident>, TroubleError> {
        Ok(self.kept_incidents().list(most).await?)
    }

    /// An incident.
    ///
    /// # Errors
    /// An unknown id, or a fault.
    pub async fn incident(&self, id: &str) -> Result<Incident, TroubleError> {
        let incident = self.kept_incidents().get(id).await?;
        incident.ok_or_else(|| TroubleError::NoSuchIncident { id: id.to_owned() })
    }

    /// Closes an incident without a repair, with a reason.
    ///
    /// # Errors
    /// An unknown id, or a fault.
    pub async fn close_incident(&self, id: &str, order: &Order) -> Result<Incident, TroubleError> {
        let action = ActionTaken::by(order, self.parts.clock.now(), "closed without a repair");
        let closed = self.kept_incidents().note(id, &action, IncidentStatus::Closed).await?;
        let closed = closed.ok_or_else(|| TroubleError::NoSuchIncident { id: id.to_owned() })?;
        self.look().await?;
        Ok(closed)
    }

    /// Has a group answer no questions until [`Projector::resume_serving`]. It goes on following the log.
    ///
    /// # Errors
    /// An unknown name, or a fault.
    pub async fn suspend(&self, name: &str, order: &Order) -> Result<Notice, TroubleError> {
        let followed = self.known(name)?;
        let suspension = Suspension::by(order, self.parts.clock.now());
        let suspend = |notice: &mut Notice| notice.suspended = Some(suspension.clone());
        let notice = Notice::change(&*self.parts.registry, followed.group.name(), suspend).await?;
        let Order { actor, reason } = order;
        tracing::warn!(model = name, %actor, reason, "the read model is suspended");
        self.look_at(followed).await?;
        Ok(notice)
    }

    /// Has a group answer again. Answers what had been ordered; none where it was not suspended.
    ///
    /// # Errors
    /// An unknown name, or a fault.
    pub async fn resume_serving(
        &self,
        name: &str,
        order: &Order,
    ) -> Result<Option<Suspension>, TroubleError> {
        let followed = self.known(name)?;
        let before = Notice::of(&*self.parts.registry, followed.group.name()).await?.suspended;
        if before.is_some() {
            let resume = |notice: &mut Notice| notice.suspended = None;
            Notice::change(&*self.parts.registry, followed.group.name(), resume).await?;
            let Order { actor, reason } = order;
            tracing::warn!(model = name, %actor, reason, "the read model answers again");
        }
        self.look_at(followed).await?;
        Ok(before)
    }

    /// Looks which keys are parked, which incidents are open and what is suspended, so that this process
    /// answers accordingly. Every process does so as often as it measures, whatever its roles. A group whose
    /// own store is away is told to be so, and holds up no other.
    ///
    /// # Errors
    /// A fault.
    pub async fn look(&self) -> Result<(), Fault> {
        let incidents = self.kept_incidents().open_by_group().await?;
        let notices = Notice::all(&*self.parts.registry).await?;
        for (name, followed) in &self.followed {
            let notice = notices.iter().find(|(group, _)| group == name).map(|(_, notice)| notice);
            let open = incidents.get(*name).copied().unwrap_or(0);
            let told = self.tell_troubles(followed, open, notice).await;
            let away = match told {
                Err(fault) if is_away(&fault) => Some(fault.to_string()),
                told => told.map(|()| None)?,
            };
            followed.entry.change_troubles(|troubles| troubles.unreachable = away);
        }
        Ok(())
    }

    /// Looks at one group.
    pub(crate) async fn look_at(&self, followed: &Followed) -> Result<(), Fault> {
        let name = followed.group.name();
        let open = self.kept_incidents().open_by_group().await?.get(name).copied().unwrap_or(0);
        let notice = Notice::of(&*self.parts.registry, name).await?;
        self.tell_troubles(followed, open, Some(&notice)).await
    }

    async fn tell_troubles(
        &self,
        followed: &Followed,
        open: u64,
        notice: Option<&Notice>,
    ) -> Result<(), Fault> {
        let parked = self.parts.store.parked(&followed.group).await?.len() as u64;
        let suspended = notice.and_then(|notice| notice.suspended.as_ref());
        let suspended = suspended.map(|suspension| format!("{} ({})", suspension.reason, suspension.actor));
        followed.entry.change_troubles(|troubles| {
            (troubles.parked, troubles.incidents, troubles.suspended) = (parked, open, suspended);
        });
        Ok(())
    }

    pub(crate) fn kept_incidents(&self) -> Incidents<'_> {
        Incidents::new(&*self.parts.registry, &*self.parts.clock)
    }
}

/// Whether a fault says that a store beside the service's own does not answer, which holds up the rows that
/// live there alone.
pub(crate) fn is_away(fault: &Fault) -> bool {
    fault.code() == Code::DocumentsUnavailable
}
