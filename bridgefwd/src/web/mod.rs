//! The page: one document with all that it needs inside, which asks the API of the daemon that served
//! it, and nobody else.

use std::sync::LazyLock;

use axum::http::HeaderName;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

struct Page {
    html: String,
    policy: String,
}

static PAGE: LazyLock<Page> = LazyLock::new(|| Page {
    html: include_str!("page.html").replacen("/*STYLE*/", STYLE, 1).replacen(
        "/*SCRIPT*/",
        SCRIPT,
        1,
    ),
    // Just this style and this script, wherever text of others may get into the page.
    policy: format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    ),
});

/// The page, as an answer.
#[must_use]
pub fn page() -> Response {
    let Page { html, policy } = &*PAGE;
    let headers: [(HeaderName, &str); 4] = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, policy),
        (REFERRER_POLICY, "no-referrer"),
        // Another version of the daemon may have another one.
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, html.as_str()).into_response()
}

fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_names_nothing_outside() {
        let Page { html, policy } = &*PAGE;
        assert_eq!(html.matches("<style>").count(), 1);
        assert_eq!(html.matches("<script>").count(), 1);
        assert!(html.contains(STYLE) && html.contains(SCRIPT));
        for outside in ["src=", "<link", "url(", "@import", "import(", " onclick", " style="] {
            assert!(!html.contains(outside), "{outside}");
        }
        // The one address in it is the name of SVG, which nobody asks.
        assert_eq!(html.matches("://").count(), 1);
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    }

    #[test]
    fn hashes_are_as_browsers_make_them() {
        // echo -n "alert('Hello, world.');" | openssl sha256 -binary | openssl base64
        let known = "sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng=";
        assert_eq!(hash("alert('Hello, world.');"), known);
    }
}
