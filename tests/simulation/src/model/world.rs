//! One run: events one after the other, each of which may lead to others, until nothing happens any more.

use std::time::{Duration, Instant};

use weft_proxy::policy::{Cause, Outcome};

use super::{
    Run, Setup,
    client::Client,
    event::{Event, Events},
    fault::{self, Kind},
    random::{Random, exponential},
    run::{self, Attempt},
    sending::{Call, Flight, unavailable},
    server::{Server, Taken},
    setup::ENDPOINTS,
};

/// To an endpoint and back.
pub const NETWORK: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub struct World<'a> {
    pub setup: &'a Setup,
    /// Engines take an [`Instant`]: this one is the beginning. It is an hour ahead, so that it is later than anything
    /// that an engine keeps from the real clock.
    beginning: Instant,
    /// Since the beginning.
    pub now: Duration,
    pub events: Events,
    pub random: Random,
    pub clients: Vec<Client>,
    pub servers: Vec<Server>,
    pub calls: Vec<Call>,
    pub flights: Vec<Flight>,
    pub run: Run,
}

/// The same setup with the same seed is the same run.
pub fn run(setup: &Setup, seed: u64) -> Run {
    let mut world = World::new(setup, seed);
    world.begin();
    while let Some((at, event)) = world.events.next() {
        world.now = at;
        world.step(event);
    }
    Run { in_flight_at_end: world.clients.iter().map(Client::in_flight).sum(), ..world.run }
}

impl<'a> World<'a> {
    fn new(setup: &'a Setup, seed: u64) -> Self {
        let servers = setup
            .backends
            .iter()
            .flat_map(|backend| std::iter::repeat_with(|| Server::new(backend.workers, backend.queue)).take(ENDPOINTS));
        let room = setup.requests() * 5 / 4;
        Self {
            setup,
            beginning: Instant::now() + Duration::from_secs(3600),
            now: Duration::ZERO,
            events: Events::default(),
            random: Random::new(seed),
            clients: (0..setup.clients).map(|_| Client::new(setup)).collect(),
            servers: servers.collect(),
            calls: Vec::with_capacity(room),
            flights: Vec::with_capacity(room),
            run: Run { requests: Vec::with_capacity(room), attempts: Vec::with_capacity(room), in_flight_at_end: 0 },
        }
    }

    pub fn instant(&self) -> Instant {
        self.beginning + self.now
    }

    /// The first request of each client to each backend, and the faults that are events.
    fn begin(&mut self) {
        for (backend, shape) in self.setup.backends.iter().enumerate() {
            for client in shape.callers.clone() {
                self.schedule_request(client as u32, backend as u32);
            }
        }
        for (index, fault) in self.setup.faults.iter().enumerate() {
            if fault.kind == Kind::Crash {
                self.events.schedule(fault.during.start, Event::Crashed { fault: index as u32 });
            }
        }
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Due { client, backend } => self.due(client, backend),
            Event::Delivered { attempt } => self.delivered(attempt),
            Event::Served { endpoint, attempt, life } => self.served(endpoint, attempt, life),
            Event::Expired { attempt } => self.end(attempt, Outcome::Failure(Cause::Timeout)),
            Event::Again { request } => self.attempt(request),
            Event::Crashed { fault } => self.crash(fault as usize),
        }
    }

    fn due(&mut self, client: u32, backend: u32) {
        self.schedule_request(client, backend);
        let request = self.calls.len() as u32;
        self.calls.push(Call::default());
        self.run.requests.push(run::Request {
            client: client as usize,
            backend: backend as usize,
            arrived: self.now,
            finished: self.now,
            good: false,
            attempts: 0,
        });
        self.place(request);
    }

    fn schedule_request(&mut self, client: u32, backend: u32) {
        let mean = Duration::from_secs_f64(1.0 / self.setup.backends[backend as usize].rate);
        let at = self.now + exponential(mean, &mut self.random.load);
        if at < self.setup.length {
            self.events.schedule(at, Event::Due { client, backend });
        }
    }

    fn delivered(&mut self, attempt: u32) {
        let Attempt { client, endpoint, .. } = self.run.attempts[attempt as usize];
        for kind in fault::of(&self.setup.faults, self.now, endpoint, client) {
            match kind {
                Kind::Silence => return,
                Kind::Crash => return self.end(attempt, Outcome::Failure(Cause::ConnectRefused)),
                Kind::Errors(share) if rand::Rng::random_bool(&mut self.random.endpoints, share) => {
                    return self.end(attempt, unavailable());
                }
                Kind::Errors(_) | Kind::Slow(_) => {}
            }
        }
        match self.servers[endpoint].take(attempt) {
            Taken::Starts => self.serve(attempt),
            Taken::Waits => {}
            Taken::Refused => self.end(attempt, unavailable()),
        }
    }

    /// A worker begins.
    fn serve(&mut self, attempt: u32) {
        let Attempt { client, endpoint, .. } = self.run.attempts[attempt as usize];
        let usual = self.setup.backends[endpoint / ENDPOINTS].service_time;
        let slow = fault::of(&self.setup.faults, self.now, endpoint, client)
            .filter_map(|kind| if let Kind::Slow(times) = kind { Some(times) } else { None });
        let mean = usual.mul_f64(slow.product());
        let at = self.now + exponential(mean, &mut self.random.endpoints);
        let life = self.servers[endpoint].life();
        self.events.schedule(at, Event::Served { endpoint: endpoint as u32, attempt, life });
    }

    fn served(&mut self, endpoint: u32, attempt: u32, life: u32) {
        let server = &mut self.servers[endpoint as usize];
        if server.life() != life {
            return;
        }
        if let Some(next) = server.next() {
            self.serve(next);
        }
        let client = self.run.attempts[attempt as usize].client;
        let lost = fault::of(&self.setup.faults, self.now, endpoint as usize, client).any(|kind| kind == Kind::Silence);
        if !lost {
            self.end(attempt, Outcome::Success);
        }
    }

    fn crash(&mut self, fault: usize) {
        let endpoints = self.setup.faults[fault].endpoints.clone();
        for endpoint in endpoints.clone() {
            self.servers[endpoint].crash();
        }
        let open = (0..self.flights.len()).filter(|index| self.flights[*index].is_open());
        let lost: Vec<usize> = open.filter(|index| endpoints.contains(&self.run.attempts[*index].endpoint)).collect();
        for attempt in lost {
            self.end(attempt as u32, Outcome::Failure(Cause::Reset));
        }
    }
}
