import type { Body } from "../../emit/body.ts";
import type { I32 } from "../../emit/scalars.ts";
import { F32x4 } from "../../emit/vectors.ts";
import { sigmoid4, softplus4, tanh4 } from "../functions/index.ts";
import { copyRow, storeLanes } from "../reduction/lanes.ts";
import { softmaxRow } from "../reduction/softmax-row.ts";
import { type RouteArguments, SCORES } from "./route-plan.ts";

/** The tokens of a task; `visit` gets each, and the task's room. */
export function eachToken(
  body: Body,
  { tokens, perTask, room, roomBytes }: RouteArguments,
  task: I32,
  visit: (token: I32, room: I32) => void,
): void {
  const own = body.let(room.add(task.mul(roomBytes)));
  const first = body.let(task.mul(perTask));
  const last = body.let(first.add(perTask));
  body.set(last, last.minU(tokens));
  body.for(first, last, 1, (token) => visit(token, own));
}

/** Visits a row four elements at a time, with their place in bytes and how many are left. */
export function eachFour(body: Body, count: I32, visit: (at: I32, left: I32) => void): void {
  body.for(0, count, 4, (index) => visit(body.let(index.shl(2)), body.let(count.sub(index))));
}

/** The softcap's tanh of four logits that temperature has divided: all in −1 … 1. */
export function bend(body: Body, warm: F32x4, { softcap }: RouteArguments): F32x4 {
  return tanh4(body, warm.div(F32x4.splat(softcap)));
}

/** Where the logits of a token are after temperature and softcap: in `to`, unless they stay as they are. */
export function squashRow(body: Body, args: RouteArguments, from: I32, to: I32): I32 {
  const squashed = body.let(from);
  body.if(args.squashes, () => {
    eachFour(body, args.experts, (at) => {
      const z = body.let(F32x4.load(from.add(at)).div(F32x4.splat(args.temperature)));
      body.if(args.softcap.ne(0), () => {
        body.set(z, bend(body, z, args).mul(F32x4.splat(args.softcap)));
      });
      body.store(to.add(at), z);
    });
    body.set(squashed, to);
  });
  return squashed;
}

/** The scores of a token. */
export function scoreRow(body: Body, args: RouteArguments, from: I32, to: I32): void {
  const { experts, score } = args;
  body.if(score.eq(SCORES.softmax), () => softmaxRow(body, { from, count: experts }, to));
  const isSigmoid = body.let(score.eq(SCORES.sigmoid));
  body.if(isSigmoid.or(score.eq(SCORES.sqrtSoftplus)), () => {
    eachFour(body, experts, (at, left) => {
      const z = body.let(F32x4.load(from.add(at)));
      body.if(
        isSigmoid,
        () => body.set(z, sigmoid4(body, z)),
        () => body.set(z, softplus4(body, z).sqrt()),
      );
      storeLanes(body, to.add(at), z, left);
    });
  });
  body.if(score.eq(SCORES.identity), () => copyRow(body, to, from, experts));
}
