//! Where the log goes and in which form: lines for people or JSON on standard error, and spans to a collector in a build that can do that.
//! What is logged is decided where it happens.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::ParseError,
    layer::SubscriberExt,
    registry::LookupSpan,
    util::{SubscriberInitExt, TryInitError},
};

use crate::config::{LogFormat, Settings};

/// Sends off what is on its way to a collector when it is dropped.
pub struct Log {
    #[cfg(feature = "otlp")]
    spans: Option<otlp::Spans>,
}

/// Starts the log of this process.
///
/// # Errors
/// One sentence, when the filter is none or the collector's address cannot be read.
pub fn start(settings: &Settings) -> Result<Log, String> {
    let filter = EnvFilter::try_new(&settings.log).map_err(|e| format!("The configuration is wrong: `log` is not a filter: {e}."))?;
    // What it says of an upstream that does not answer, the proxy says once and in its own words.
    let filter = filter.add_directive("axum_reverse_proxy=off".parse().map_err(|e: ParseError| e.to_string())?);
    #[cfg(feature = "otlp")]
    {
        let spans = otlp::Spans::start()?;
        match &spans {
            Some(spans) => tracing_subscriber::registry().with(lines(settings).with_filter(filter)).with(spans.layer()).try_init(),
            None => start_lines(settings, filter),
        }
        .map_err(|e| e.to_string())?;
        Ok(Log { spans })
    }
    #[cfg(not(feature = "otlp"))]
    {
        start_lines(settings, filter).map_err(|e| e.to_string())?;
        Ok(Log {})
    }
}

/// The filter stands before all layers, not at one: else whoever asks whether it would let something pass, as drivers of databases do, and says
/// nothing then, makes the layer miss what the thread says next, be it the span of a request with its id.
fn start_lines(settings: &Settings, filter: EnvFilter) -> Result<(), TryInitError> {
    tracing_subscriber::registry().with(filter).with(lines(settings)).try_init()
}

/// Lines on standard error.
fn lines<S: Subscriber + for<'a> LookupSpan<'a>>(settings: &Settings) -> Box<dyn Layer<S> + Send + Sync> {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    match settings.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    }
}

#[cfg(feature = "otlp")]
impl Drop for Log {
    fn drop(&mut self) {
        if let Some(spans) = &self.spans {
            spans.stop();
        }
    }
}

#[cfg(feature = "otlp")]
mod otlp {
    //! Spans of requests and events, to an OpenTelemetry collector over HTTP.

    use opentelemetry::trace::TracerProvider;
    use opentelemetry_otlp::SpanExporter;
    use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
    use tracing::{Subscriber, level_filters::LevelFilter};
    use tracing_subscriber::{Layer, filter::Targets, registry::LookupSpan};

    use crate::config;

    /// The way to the collector.
    pub struct Spans(SdkTracerProvider);

    impl Spans {
        /// Starts sending, if the environment names a collector; the rest of its `OTEL_` variables is the library's to read.
        pub fn start() -> Result<Option<Self>, String> {
            if !config::names_a_collector() {
                return Ok(None);
            }
            let exporter = SpanExporter::builder().with_http().build();
            let exporter = exporter.map_err(|e| format!("The collector of OTEL_EXPORTER_OTLP_ENDPOINT cannot be used: {e}."))?;
            let resource = Resource::builder().with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
            let resource = if config::names_a_service() { resource } else { resource.with_service_name("tidings") };
            Ok(Some(Self(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build())))
        }

        /// Our own spans, whatever the log shows; those of events, too.
        pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
            let own = Targets::new().with_target("tidings", LevelFilter::DEBUG);
            tracing_opentelemetry::layer().with_tracer(self.0.tracer("tidings")).with_filter(own)
        }

        /// Sends off the rest.
        pub fn stop(&self) {
            // A collector that does not answer shall not keep anybody.
            self.0.shutdown_with_timeout(std::time::Duration::from_secs(1)).ok();
        }
    }
}
