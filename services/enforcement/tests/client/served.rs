//! A service that serves the scenario over a socket to callers who prove who they are.

use crate::support::folder::Folder;
use crate::support::http::{Client, Events, Reply};
use crate::support::postgres::fresh;
use diptych::core::{Clock, Tenant};
use diptych::prelude::*;
use enforcement::people::person;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Two days before the scenario's decision is due.
pub(crate) const NOW: &str = "2026-07-05T12:00:00Z";

const SECRET: &str = "a secret of this test that signs tokens and is long enough for it";

struct StoppedClock(Timestamp);

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// A service that holds the scenario and knows its callers by tokens. Nothing moves its read models but the
/// test.
pub(crate) struct Served {
    folder: Folder,
    pub(crate) running: Arc<Running>,
    jwt: Jwt,
    pub(crate) client: Client,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Served {
    pub(crate) async fn start(name: &str, on_postgres: bool) -> Self {
        Self::configured(name, on_postgres, |_| {}).await
    }

    pub(crate) async fn configured(name: &str, on_postgres: bool, change: impl FnOnce(&mut Config)) -> Self {
        let folder = Folder::new(name);
        let secret = folder.store().with_extension("secret");
        std::fs::write(&secret, SECRET).unwrap();
        let jwt = || Jwt::secret(&secret).unwrap();
        let config =
            if on_postgres { Config::at(fresh().to_str().unwrap()) } else { Config::at(folder.store()) };
        let mut config = Config { roles: Roles::ALL.without(Role::Projector), ..config };
        change(&mut config);
        let service = enforcement::service().authenticate(jwt()).clock(StoppedClock(NOW.parse().unwrap()));
        let running = Arc::new(service.open(config).await.unwrap());
        enforcement::scenario::play(&running).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::to(listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn({
            let running = Arc::clone(&running);
            async move { running.serve_on(listener, async { drop(stopped.await) }).await.unwrap() }
        });
        Self { folder, running, jwt: jwt(), client, stop, serving }
    }

    /// What somebody sends to say who it is.
    pub(crate) fn token(&self, principal: &Principal) -> String {
        let token = self.jwt.issue(principal, NOW.parse().unwrap(), Duration::from_secs(3_600));
        format!("Bearer {}", token.unwrap())
    }

    /// The same for a person of the scenario.
    pub(crate) fn token_of(&self, actor: &str) -> String {
        self.token(&person(&Tenant::new("main").unwrap(), actor).unwrap())
    }

    pub(crate) async fn get(&mut self, token: &str, path: &str) -> Reply {
        self.client.get(path, &[("authorization", token)]).await.unwrap()
    }

    pub(crate) async fn post(
        &mut self,
        token: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> Reply {
        let headers = [&[("authorization", token)], headers].concat();
        self.client.post(path, &headers, &body).await.unwrap()
    }

    /// Somebody made up for a test, in the scenario's tenant.
    pub(crate) fn token_for(&self, text: &str) -> String {
        self.token(&Principal::from_text(&format!("main/{text}")).unwrap())
    }

    /// What somebody hears who follows an address, on a connection of its own.
    pub(crate) async fn follow(&self, token: &str, path: &str) -> Events {
        self.client.follow(path, &[("authorization", token)]).await.unwrap()
    }

    /// Asks what became of a command until it has ended.
    pub(crate) async fn ended(&mut self, token: &str, path: &str) -> Value {
        loop {
            let told = self.get(token, path).await.expect(200);
            if !matches!(told["status"].as_str(), Some("accepted" | "running")) {
                return told;
            }
        }
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.serving.await.unwrap();
        let Ok(running) = Arc::try_unwrap(self.running) else { panic!("somebody still serves") };
        running.stop().await.unwrap();
        drop(self.folder);
    }
}
