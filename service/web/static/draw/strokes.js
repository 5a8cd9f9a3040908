// Strokes of a pen: smooth lines whose width may change on the way, painted the same on the page and for the models.

/** Strokes are in units of a square that is so long, however large it is shown. */
export const SIDE = 280;

/**
 * Paint strokes; the context's units are theirs.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {{x: number, y: number, width: number}[][]} strokes
 * @param {string} ink
 */
export function paint(context, strokes, ink) {
  context.lineCap = "round";
  context.strokeStyle = ink;
  for (const stroke of strokes) paintOne(context, stroke);
}

/** The picture that models are shown: black on white, whatever the page's colours are. */
export function asPicture(strokes) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, SIDE, SIDE);
  paint(context, strokes, "#000");
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

// Each point but the ends pulls at a curve between the middles on both sides of it, so that no point makes a corner.
function paintOne(context, points) {
  let from = points[0];
  if (points.length === 1) line(context, from, from, from, from.width);
  for (let index = 1; index < points.length; index += 1) {
    const point = points[index];
    const to = index === points.length - 1 ? point : middle(point, points[index + 1]);
    line(context, from, point, to, (points[index - 1].width + point.width) / 2);
    from = to;
  }
}

function line(context, from, towards, to, width) {
  context.lineWidth = width;
  context.beginPath();
  context.moveTo(from.x, from.y);
  context.quadraticCurveTo(towards.x, towards.y, to.x, to.y);
  context.stroke();
}

function middle(one, other) {
  return { x: (one.x + other.x) / 2, y: (one.y + other.y) / 2 };
}
