//! What the steps of the demo have in hand: the running mesh, its users, and the record of what was typed and measured.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::{Method, Request, header};
use tokio::time::sleep;
use weft_control_plane::admin_api::{Resources, Revision, Status};
use weft_proxy_api::{ServiceName, ServicePort};

use super::{
    app::{Answer, Behaviour, Met},
    processes::Processes,
    stage::POLL,
    traffic::{Flow, Sample},
    view::{Check, View},
};
use crate::{client::AdminClient, plain_http};

const ACKNOWLEDGE: Duration = Duration::from_secs(10);

pub struct Scene<'a> {
    pub processes: &'a mut Processes,
    pub view: &'a View,
    pub admin: AdminClient,
    /// With which the control plane was started, to start it again.
    pub control_plane: Vec<String>,
    pub frontend: SocketAddr,
    pub orders: Orders,
    /// The revision in which everything goes to v1.
    pub first_revision: u64,
    commands: Vec<String>,
    checks: Vec<Check>,
}

/// Where the programs of `orders` listen themselves.
#[derive(Clone, Copy, Debug)]
pub struct Orders {
    pub v1_a: SocketAddr,
    pub v1_b: SocketAddr,
    pub v2: SocketAddr,
}

impl<'a> Scene<'a> {
    pub fn new(
        processes: &'a mut Processes,
        view: &'a View,
        admin: AdminClient,
        control_plane: Vec<String>,
        frontend: SocketAddr,
        orders: Orders,
    ) -> Self {
        let (commands, checks) = (Vec::new(), Vec::new());
        Self { processes, view, admin, control_plane, frontend, orders, first_revision: 0, commands, checks }
    }

    /// What the step that has ended has typed and measured.
    pub fn take_record(&mut self) -> (Vec<String>, Vec<Check>) {
        (std::mem::take(&mut self.commands), std::mem::take(&mut self.checks))
    }

    pub fn check(&mut self, expected: impl Into<String>, measured: impl Into<String>, held: bool) {
        let check = Check { expected: expected.into(), measured: measured.into(), held };
        self.view.check(&check);
        self.checks.push(check);
    }

    /// Shows a command that the demo carries out in another way.
    pub fn typed(&mut self, line: String) {
        self.view.command(&line);
        self.commands.push(line);
    }

    /// Runs `weft` as a person would.
    ///
    /// # Errors
    /// It fails.
    pub async fn weft(&mut self, args: &[&str]) -> anyhow::Result<()> {
        let quoted: Vec<_> =
            args.iter().map(|arg| if arg.contains(' ') { format!("'{arg}'") } else { (*arg).to_owned() }).collect();
        self.typed(format!("weft {}", quoted.join(" ")));
        let output = self.processes.run(args).await?;
        self.view.quote(&String::from_utf8_lossy(&output.stdout));
        if !output.status.success() {
            bail!("weft {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim_end());
        }
        Ok(())
    }

    /// Writes the file, shows it, applies it, and waits until the frontend's sidecar follows it. Returns the revision.
    ///
    /// # Errors
    /// The apply fails, or nobody follows it.
    pub async fn apply(&mut self, file: &str, text: &str, message: &str) -> anyhow::Result<u64> {
        std::fs::write(self.processes.folder().join(file), text).with_context(|| format!("cannot write {file}"))?;
        self.typed(format!("cat {file}"));
        self.view.quote(text);
        self.weft(&["apply", "-f", file, "--message", message]).await?;
        self.followed().await
    }

    /// Waits until the frontend's sidecar has acknowledged the current revision, and returns that.
    ///
    /// # Errors
    /// It does not in time.
    pub async fn followed(&mut self) -> anyhow::Result<u64> {
        self.view.doing("waiting until the frontend's sidecar has acknowledged");
        let deadline = Instant::now() + ACKNOWLEDGE;
        loop {
            let status = self.status().await?;
            let frontend = status.workloads.iter().find(|workload| is_frontend(workload.service.as_deref()));
            let acknowledged = frontend.and_then(|workload| workload.acknowledged);
            if acknowledged == Some(status.revision) {
                return Ok(status.revision);
            }
            if Instant::now() > deadline {
                bail!("the frontend's sidecar has acknowledged {acknowledged:?}, not revision {}", status.revision);
            }
            sleep(POLL).await;
        }
    }

    pub async fn status(&mut self) -> anyhow::Result<Status> {
        self.processes.check_alive()?;
        Ok(self.admin.get("/v1/status").await?)
    }

    /// How many workloads take part in balancing.
    pub async fn serving(&mut self) -> anyhow::Result<usize> {
        Ok(self.status().await?.workloads.iter().filter(|workload| workload.serving).count())
    }

    pub async fn resources(&self, revision: Option<u64>) -> anyhow::Result<Resources> {
        let query = revision.map(|revision| format!("?revision={revision}")).unwrap_or_default();
        Ok(self.admin.get(&format!("/v1/resources{query}")).await?)
    }

    pub async fn history(&self) -> anyhow::Result<Vec<Revision>> {
        Ok(self.admin.get("/v1/history").await?)
    }

    /// Sends `n` requests and returns what came of each.
    ///
    /// # Errors
    /// A process has ended.
    pub async fn measure(&mut self, n: usize, per_second: u32) -> anyhow::Result<Vec<Sample>> {
        let flow = Flow::start(self.frontend, per_second, n);
        self.view.doing(&format!("{n} requests to the frontend"));
        while !flow.is_finished() {
            self.view.sample(&flow.so_far(), None);
            self.processes.check_alive()?;
            sleep(POLL).await;
        }
        self.view.rest();
        flow.stop().await
    }

    /// Has a program of `orders` behave so from now on; the mesh is not told.
    ///
    /// # Errors
    /// It does not answer, or does not know such a behaviour.
    pub async fn behave(&mut self, program: SocketAddr, behaviour: &Behaviour) -> anyhow::Result<()> {
        let body = serde_json::to_string(behaviour)?;
        self.typed(format!("curl http://{program}/behave -d '{body}'"));
        let request = Request::post("/behave").header(header::HOST, program.to_string());
        let status = plain_http::send(program, request.body(body.into())?).await?.status();
        ensure!(status.is_success(), "orders answered {status}");
        Ok(())
    }

    /// What a program of `orders` has met since it was last told how to behave.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn met(&self, program: SocketAddr) -> anyhow::Result<Met> {
        let request = Request::get("/met").header(header::HOST, program.to_string());
        let response = plain_http::send(program, request.body(Bytes::new())?).await?;
        Ok(serde_json::from_slice(response.body())?)
    }

    /// As [`behave`](Self::behave), of both instances of v1.
    ///
    /// # Errors
    /// As with one.
    pub async fn behave_v1(&mut self, behaviour: &Behaviour) -> anyhow::Result<()> {
        for program in [self.orders.v1_a, self.orders.v1_b] {
            self.behave(program, behaviour).await?;
        }
        Ok(())
    }

    /// How many requests both instances of v1 have met.
    ///
    /// # Errors
    /// One of them does not answer.
    pub async fn met_by_v1(&self) -> anyhow::Result<u64> {
        Ok(self.met(self.orders.v1_a).await?.requests + self.met(self.orders.v1_b).await?.requests)
    }

    /// One request to the frontend, which passes it on to `orders`.
    ///
    /// # Errors
    /// The frontend does not answer.
    pub async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "frontend");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = plain_http::send(self.frontend, request.body(Bytes::new())?).await?;
        let body = String::from_utf8_lossy(response.body());
        serde_json::from_slice(response.body()).with_context(|| format!("the frontend answered {body}"))
    }

    /// Every one of these requests has been answered as it should.
    pub fn check_all_answered(&mut self, samples: &[Sample]) {
        let failures: Vec<_> = samples.iter().filter_map(Sample::failure).collect();
        let first = failures.first().map(|failure| format!(", the first: {failure}")).unwrap_or_default();
        let measured = format!("{} requests, {} failed{first}", samples.len(), failures.len());
        self.check("no request fails", measured, failures.is_empty() && !samples.is_empty());
    }
}

/// Whether `default/frontend`, with a port or without, is the frontend.
pub fn is_frontend(service: Option<&str>) -> bool {
    let name = |text: &str| match text.parse::<ServicePort>() {
        Ok(port) => Some(port.service),
        Err(_) => text.parse::<ServiceName>().ok().map(|name| name.service),
    };
    service.and_then(name).is_some_and(|service| service == "frontend")
}
