//! What is reached, and what can be listened on: the old backend behind, and the port in front.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    time::Duration,
};

use tidings::app::without_ipv6;
use tidings::config::{Settings, masked};
use tidings::finding::Finding;

/// How long a connection, and each answer, may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether the old backend answers.
pub async fn upstream(settings: &Settings) -> Finding {
    const ABOUT: &str = "upstream";
    let Some(url) = settings.legacy_upstream.clone() else {
        return Finding::ok(ABOUT, "none: what is not served here is not found");
    };
    let authority = url.split_once("://").map_or("", |(_, rest)| rest).split('/').next().unwrap_or_default();
    let authority = authority.rsplit('@').next().unwrap_or_default().to_owned();
    let authority = if authority.rsplit(']').next().unwrap_or_default().contains(':') { authority } else { format!("{authority}:80") };
    let (own, shown) = (settings.address(), masked(&url));
    let asked = tokio::task::spawn_blocking(move || {
        let address = resolve(&authority)?;
        let is_own = own.is_some_and(|own| own.port() == address.port() && (address.ip().is_loopback() || address.ip() == own.ip()));
        Ok::<_, io::Error>((is_own, ask(address, &authority, "/")?))
    });
    let advice = "start the old backend, and set LEGACY_UPSTREAM to where it listens";
    match asked.await.unwrap_or_else(|e| Err(io::Error::other(e))) {
        Ok((true, _)) => {
            let advice = "give the old backend another port, and name that one in LEGACY_UPSTREAM";
            Finding::problem(ABOUT, format!("{shown} is the address of tidings itself: requests would go round and round"), advice)
        }
        Ok((false, answer)) => match answer.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)) {
            Some(status) => Finding::ok(ABOUT, format!("{shown} answers GET / with {status}")),
            None => Finding::problem(ABOUT, format!("{shown} does not speak HTTP"), advice),
        },
        Err(e) => Finding::problem(ABOUT, format!("{shown} does not answer: {e}"), advice),
    }
}

/// Whether the server can listen where it should, or does so already.
pub async fn port(settings: &Settings) -> Finding {
    const ABOUT: &str = "port";
    let Some(address) = settings.address() else {
        return Finding::problem(ABOUT, format!("{} is not an address", settings.host), "set HOST to an address such as 0.0.0.0");
    };
    let bound = TcpListener::bind(address).or_else(|e| without_ipv6(address, &e).map_or(Err(e), TcpListener::bind));
    let e = match bound {
        Ok(_) => return Finding::ok(ABOUT, format!("{address} is free")),
        Err(e) => e,
    };
    match e.kind() {
        io::ErrorKind::AddrInUse => {
            let asked = tokio::task::spawn_blocking(move || ask(reachable(address), "localhost", "/readyz"));
            match asked.await.unwrap_or_else(|e| Err(io::Error::other(e))) {
                Ok(answer) if answer.contains("\"database\"") => {
                    let status = answer.split(' ').nth(1).unwrap_or_default();
                    Finding::ok(ABOUT, format!("tidings listens on {address} already; /readyz answers {status}"))
                }
                _ => {
                    let advice =
                        format!("stop what listens there (`ss -ltnp 'sport = :{}'` names it), or set another PORT", address.port());
                    Finding::problem(ABOUT, format!("another program listens on {address}"), advice)
                }
            }
        }
        io::ErrorKind::PermissionDenied => {
            let advice = "set PORT to 1024 or more, or AmbientCapabilities=CAP_NET_BIND_SERVICE in the systemd unit";
            Finding::problem(ABOUT, format!("this user may not listen on {address}"), advice)
        }
        _ => Finding::problem(
            ABOUT,
            format!("{address} cannot be listened on: {e}"),
            "set HOST to an address of this machine, such as 0.0.0.0",
        ),
    }
}

fn resolve(authority: &str) -> io::Result<SocketAddr> {
    let mut all: Vec<SocketAddr> = authority.to_socket_addrs()?.collect();
    // A backend that listens on all addresses is more often there by the old protocol only than by the new one.
    all.sort_by_key(SocketAddr::is_ipv6);
    all.into_iter().next().ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = if address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() };
    SocketAddr::new(ip, address.port())
}

/// The beginning of an answer to a GET request.
fn ask(address: SocketAddr, host: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = vec![0; 4096];
    let mut length = 0;
    // Head and body may come in two pieces.
    for _ in 0..4 {
        match stream.read(answer.get_mut(length..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(n) => length += n,
            Err(e) if length == 0 => return Err(e),
            Err(_) => break,
        }
    }
    answer.truncate(length);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
