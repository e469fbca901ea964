//! Which application a connection is for.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use crate::http::client::Target;

/// The local application's addresses, each as one target, so that the pool knows them again.
pub struct Apps {
    /// Those that the settings name. To the first go the connections that were made to the listener itself.
    named: Vec<Arc<Target>>,
    /// The application is said to listen on loopback only, where redirected connections are brought to it.
    on_loopback: bool,
    /// Where other redirected ones go: only ports that were connected to.
    redirected: Mutex<HashMap<SocketAddr, Arc<Target>>>,
}

impl Apps {
    /// `apps` is where the application is said to listen, on one IP address.
    pub fn new(apps: &[SocketAddr]) -> Self {
        let on_loopback = apps.iter().any(|app| app.ip().is_loopback());
        let named = apps.iter().copied().map(reachable).map(target).collect();
        Self { named, on_loopback, redirected: Mutex::default() }
    }

    /// `original` is where the connection was meant to go before it was redirected.
    pub fn behind(&self, original: Option<SocketAddr>) -> Option<Arc<Target>> {
        let Some(original) = original else { return self.named.first().cloned() };
        if let Some(named) = self.named.iter().find(|named| named.address.port() == original.port())
            && self.on_loopback
        {
            return Some(named.clone());
        }
        let mut redirected = self.redirected.lock().unwrap_or_else(PoisonError::into_inner);
        Some(redirected.entry(original).or_insert_with(|| target(original)).clone())
    }
}

/// Where an application is connected to that listens on this address: one that listens on all addresses is on loopback.
pub fn reachable(app: SocketAddr) -> SocketAddr {
    match app.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, app.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, app.port()).into(),
        _ => app,
    }
}

fn target(address: SocketAddr) -> Arc<Target> {
    Arc::new(Target { address, identity: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirected_connections_go_where_they_were_going_unless_the_application_is_on_loopback() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let behind = |app: Option<&str>, original: Option<&str>| {
            let further = |app: SocketAddr| [app, SocketAddr::new(app.ip(), 26379)];
            let apps: Vec<_> = app.map(address).into_iter().flat_map(further).collect();
            Apps::new(&apps).behind(original.map(address)).map(|target| target.address.to_string())
        };
        let pod = Some("10.0.0.5:6379");
        assert_eq!(behind(Some("0.0.0.0:6379"), pod).as_deref(), pod);
        assert_eq!(behind(Some("0.0.0.0:6379"), None).unwrap(), "127.0.0.1:6379");
        assert_eq!(behind(Some("127.0.0.1:6379"), pod).unwrap(), "127.0.0.1:6379");
        assert_eq!(behind(Some("127.0.0.1:6379"), Some("10.0.0.5:80")).unwrap(), "10.0.0.5:80");
        assert_eq!(behind(Some("127.0.0.1:6379"), Some("10.0.0.5:26379")).unwrap(), "127.0.0.1:26379");
        assert_eq!(behind(Some("0.0.0.0:6379"), Some("10.0.0.5:26379")).unwrap(), "10.0.0.5:26379");
        assert_eq!((behind(None, None), behind(None, pod).as_deref()), (None, pod));
        let apps = Apps::new(&[]);
        assert!(Arc::ptr_eq(&apps.behind(pod.map(address)).unwrap(), &apps.behind(pod.map(address)).unwrap()));
    }
}
