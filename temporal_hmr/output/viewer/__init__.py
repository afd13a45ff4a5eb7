"""One page of HTML that shows a result: video, bodies in space, curves; opens offline."""
