//! The rows of the scoreboard, by what their links are like.

mod alone;
mod edges;
mod marks;
mod rough;
mod shared;

use crate::scene::Row;

/// All rows, in order.
pub(crate) fn all() -> Vec<Row> {
    let rows = alone::ROWS.into_iter().chain(rough::ROWS);
    rows.chain(shared::ROWS).chain(marks::ROWS).chain(edges::ROWS).collect()
}
