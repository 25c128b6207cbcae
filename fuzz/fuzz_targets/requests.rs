//! What a request says outside its body: path, query, origins, forwarded addresses.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use axum::http::{HeaderMap, HeaderValue, Uri};
use libfuzzer_sys::fuzz_target;
use tidings::{
    origin::{Origins, Proxies},
    wire::{inbound::decimal_id, query::Params},
};

/// Lines: an address, an origin, a host, a list of configured origins, a list of proxies, an `X-Forwarded-For`.
fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut text = || String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let (address, origin, host, origins, proxies, forwarded) = (text(), text(), text(), text(), text(), text());

    if let Ok(address) = address.parse::<Uri>() {
        for part in address.path().split('/') {
            assert!(decimal_id(part).is_none_or(|id| id > 0 && id < 1 << 53));
        }
        if let Ok(params) = Params::of(&address) {
            assert!(!matches!(params.id("before"), Ok(Some(..=0))));
            assert!(!matches!(params.limit(), Ok(Some(0 | 1001..))));
            params.moment("before").ok();
            params.word("status", |word| (word == "open").then_some(()), "open").ok();
            params.text("search");
        }
    }

    let configured = Origins::parse(origins.split(','));
    if let (Ok(configured), Ok(origin)) = (configured, HeaderValue::from_str(&origin)) {
        let host = HeaderValue::from_str(&host).ok();
        configured.allow(&origin, host.as_ref());
        // Without patterns only the server's own address is allowed.
        assert!(!Origins::default().allow(&origin, None));
    }

    if let Ok(proxies) = Proxies::parse(proxies.split(',')) {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(&forwarded) {
            headers.insert("x-forwarded-for", value);
        }
        let peer = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
        let client = proxies.client(peer, &headers);
        assert!(client == peer || proxies.trust(peer), "only a proxy is believed");
    }
});
