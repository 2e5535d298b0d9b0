@rem cmd has no exec of its own: scripts of package.json start their program through this.
@%*
