//! Circles of files: each reaches every other of its circle along the arrows (Tarjan's strongly connected components).

use super::arrows::Arrow;

/// The circles of two files and more, as sorted places.
pub(super) fn circles(files: usize, arrows: &[Arrow]) -> Vec<Vec<usize>> {
    let mut next = vec![Vec::new(); files];
    for arrow in arrows {
        next[arrow.from].push(arrow.to);
    }
    let mut search = Search {
        next,
        order: vec![None; files],
        low: vec![0; files],
        is_open: vec![false; files],
        open: Vec::new(),
        seen: 0,
        found: Vec::new(),
    };
    for file in 0..files {
        if search.order[file].is_none() {
            search.visit(file);
        }
    }
    search.found.sort();
    search.found
}

struct Search {
    next: Vec<Vec<usize>>,
    order: Vec<Option<usize>>,
    low: Vec<usize>,
    is_open: Vec<bool>,
    open: Vec<usize>,
    seen: usize,
    found: Vec<Vec<usize>>,
}

impl Search {
    fn visit(&mut self, file: usize) {
        let order = self.seen;
        self.seen += 1;
        self.order[file] = Some(order);
        self.low[file] = order;
        self.open.push(file);
        self.is_open[file] = true;
        for to in self.next[file].clone() {
            match self.order[to] {
                None => {
                    self.visit(to);
                    self.low[file] = self.low[file].min(self.low[to]);
                }
                Some(earlier) if self.is_open[to] => self.low[file] = self.low[file].min(earlier),
                Some(_) => {}
            }
        }
        if self.low[file] != order {
            return;
        }
        let start = self.open.iter().position(|open| *open == file).unwrap_or_default();
        let mut circle = self.open.split_off(start);
        for member in &circle {
            self.is_open[*member] = false;
        }
        if circle.len() > 1 {
            circle.sort_unstable();
            self.found.push(circle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_reach_each_other_are_a_circle_and_a_chain_is_none() {
        let arrow = |(from, to)| Arrow {
            from,
            to,
            line: 1,
            path: String::new(),
        };
        let arrows: Vec<Arrow> = [(0, 1), (1, 2), (2, 1), (2, 3), (3, 4), (5, 3), (4, 5)]
            .map(arrow)
            .into();
        assert_eq!(circles(7, &arrows), [vec![1, 2], vec![3, 4, 5]]);
        assert!(circles(3, &[arrow((0, 1)), arrow((1, 2)), arrow((0, 2))]).is_empty());
    }
}
