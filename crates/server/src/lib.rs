//! Toolgate itself: the turn driver, identity, the page and the API.
